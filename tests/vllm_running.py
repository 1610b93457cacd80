"""vLLM for tests: started once for many of them, on the CPU. They skip where it is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from m3_backbone.host import Host
from m3_backbone.model import M3Model
from m3_backbone.vllm import vllm_host

NEEDS_VLLM = [
    pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed: `make test-vllm`"),
    pytest.mark.filterwarnings("default"),  # vLLM's own
    pytest.mark.timeout(600),
]
OPTIONS: dict[str, object] = {"enforce_eager": True, "kv_cache_memory_bytes": 2**28}


@contextmanager
def running(backbone: M3Model, cache: Path) -> Iterator[Host]:
    """vLLM under ``backbone``, which gives up its language model. Engines that close leave it open."""
    host = vllm_host(backbone, options=OPTIONS, cache=cache)
    close = host.close
    host.close = lambda: None  # type: ignore[method-assign]
    try:
        yield host
    finally:
        close()
