"""An engine that is not ready for good ends the process, when the operator wants that."""

from __future__ import annotations

import json
import time
import urllib.request

import pytest

from m3_backbone.fake import FakeEngine
from m3_backbone.types import Health
from router.service.patience import Patience
from tests.serving import good
from tests.test_router_service_process import ENVIRONMENT, serving

DYING = """
import router.cli.serve
from m3_backbone.fake import MARKERS, FakeEngine
from router.cli.main import main

router.cli.serve.load_engine = lambda settings: FakeEngine(faults=MARKERS, mortal=%s, restart_s=0.05)
main()
"""


class Moody(FakeEngine):
    """Ready when it is told so."""

    ready = True

    def health(self) -> Health:
        return Health(self.ready, "" if self.ready else "it died")


def test_patience_is_with_every_spell_anew_and_once_it_is_over_it_stays_so() -> None:
    engine, now = Moody(), [0.0]
    patience = Patience(engine, 10, clock=lambda: now[0])

    def over_at(instant: float, *, ready: bool) -> bool:
        now[0], engine.ready = instant, ready
        return patience.is_over()

    assert not over_at(1, ready=False)
    assert not over_at(10.9, ready=False)
    assert not over_at(11, ready=True)
    assert not over_at(12, ready=False)
    assert not over_at(21.9, ready=False)
    assert over_at(22, ready=False)
    assert over_at(30, ready=True)
    assert patience.over


def test_without_a_limit_there_is_no_end_of_it() -> None:
    engine = Moody()
    engine.ready = False
    assert not Patience(engine, None, clock=lambda: 1e9).is_over()


def test_a_server_whose_engine_died_refuses_and_then_ends_with_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(ENVIRONMENT, "M3_GIVE_UP_S", "0.5")
    with serving(("-c", DYING % True)) as server:
        well, _ = server.post("/v1/answer", json.dumps(good()).encode())
        dead, error = server.post("/v1/answer", json.dumps(good(question="[death]")).encode())
        assert server.process.wait(60) == 2
    log = "".join(server.log)
    assert (well, dead) == (200, 503)
    assert "not_ready" in json.dumps(error)
    assert "The engine is not ready: the model died" in log
    assert "m3-router: The engine was not ready for 0.5 s (M3_GIVE_UP_S)." in log
    assert "Traceback" not in log


def test_a_server_whose_engine_died_serves_again_in_the_same_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(ENVIRONMENT, "M3_GIVE_UP_S", "600")
    with serving(("-c", DYING % False)) as server:
        dead, error = server.post("/v1/answer", json.dumps(good(question="[death]")).encode())
        end = time.monotonic() + 60
        while (again := server.post("/v1/answer", json.dumps(good()).encode()))[0] != 200:
            assert time.monotonic() < end, again
            time.sleep(0.02)
        with urllib.request.urlopen(server.address + "/metrics", timeout=60) as metrics:
            assert b"m3_engine_restarts 1.0" in metrics.read()
    assert dead == 503
    assert "not_ready" in json.dumps(error)
