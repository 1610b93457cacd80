"""A new bundle while the service runs: verified first, switched at once, the old one kept on failure."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event, Semaphore
from typing import Any

import httpx
import pytest

from m3_backbone.fake import FakeEngine
from m3_backbone.types import EncodedImage, RouteInputs
from router.bundle import PREDICTOR
from router.cli.loading import load_router
from router.errors import BundleCorrupt
from router.service.app import create_app
from router.service.deciding import Routes
from tests.chatting import asked
from tests.routing import outcomes, small_fit
from tests.serving import ScriptedRouter, Talk, app_of, good, settings, talking
from tests.test_router_service_chat_images import pictures
from tests.test_router_service_process import serving

OLD = ScriptedRouter(version="old")
NEW = ScriptedRouter(score=(0.9, 0.9, 0.9, 0.9, 0.9), version="new")


def reloading(http: Talk, app: Any) -> bool:
    done: bool = http.run(app.state.service.reloader.reload())
    return done


def app_with(load: Callable[[], Routes | None], engine: FakeEngine | None = None) -> Any:
    return create_app(settings(), engine or FakeEngine(), OLD, load_router=load)


def failing(error: Exception) -> Callable[[], Routes | None]:
    def load() -> Routes | None:
        raise error

    return load


def test_a_good_bundle_takes_over_everywhere_at_once() -> None:
    app = app_with(lambda: NEW)
    with talking(app) as http:
        before = http.answer().json()
        assert reloading(http, app)
        after = http.answer().json()
        ready = http.get("/ready").json()
        metrics = http.get("/metrics").text
    assert (before["router"], before["scale"]) == ("old", 36)
    assert (after["router"], after["scale"]) == ("new", 1)
    assert ready["router"] == "new"
    assert 'm3_info{model="fake",router="new"} 1.0' in metrics
    assert 'router="old"' not in metrics
    assert 'm3_reloads_total{result="done"} 1.0' in metrics


def test_a_reload_may_also_take_the_router_away() -> None:
    app = app_with(lambda: None)
    with talking(app) as http:
        assert reloading(http, app)
        assert http.answer().json()["router"] is None


def raising() -> None:
    raise RuntimeError("xyzzy")


@pytest.mark.parametrize(
    ("load", "told"),
    [
        (failing(BundleCorrupt("predictor.onnx was altered.")), "predictor.onnx was altered."),
        (failing(MemoryError("xyzzy")), "MemoryError"),
        (lambda: ScriptedRouter(before=raising), "RuntimeError"),
        (lambda: ScriptedRouter(score=(float("nan"),) * 5), "cannot decide"),
    ],
)
def test_what_is_not_good_enough_is_told_and_the_old_one_stays(
    load: Callable[[], Routes | None], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = app_with(load)
    with caplog.at_level(logging.INFO), talking(app) as http:
        assert not reloading(http, app)
        body = http.answer().json()
        metrics = http.get("/metrics").text
    assert (body["router"], body["scale"]) == ("old", 36)
    assert 'm3_info{model="fake",router="old"} 1.0' in metrics
    assert 'm3_reloads_total{result="failed"} 1.0' in metrics
    assert "The bundle was not reloaded; router old stays." in caplog.text
    assert told in caplog.text
    assert "xyzzy" not in caplog.text


def test_a_request_under_way_ends_with_the_router_that_it_began_with_for_all_of_its_images() -> None:
    inside, go_on = Semaphore(0), Event()

    def hold() -> None:
        inside.release()
        assert go_on.wait(30)

    app = create_app(
        settings(route_timeout_s=30),
        FakeEngine(),
        ScriptedRouter(before=hold, version="old"),
        load_router=lambda: NEW,
    )

    async def both(http: Talk) -> tuple[httpx.Response, httpx.Response]:
        post = http.client.post
        one = asyncio.ensure_future(post("/v1/answer", json=good()))
        two = asyncio.ensure_future(
            post("/v1/chat/completions", json=asked(messages=pictures("auto", "auto")))
        )
        for _ in (one, two):
            assert await asyncio.to_thread(inside.acquire, timeout=30)
        assert await app.state.service.reloader.reload()
        go_on.set()
        return await one, await two

    with talking(app) as http:
        one, two = http.run(both(http))
        after = http.answer().json()
    assert (one.json()["router"], one.json()["scale"]) == ("old", 36)
    assert two.headers["x-m3-router-version"] == "old"
    assert [image["scale"] for image in two.json()["m3_routing"]["images"]] == [36, 36]
    assert (after["router"], after["scale"]) == ("new", 1)


def test_many_signals_are_two_reloads_at_most_one_after_the_other() -> None:
    loading: list[int] = []
    at_once: list[int] = []

    def load() -> Routes:
        loading.append(1)
        at_once.append(len(loading))
        time.sleep(0.05)
        loading.pop()
        return NEW

    app = app_with(load)

    async def many() -> None:
        for _ in range(10):
            app.state.service.reloader.request()
        async with asyncio.timeout(30):
            while app.state.service.reloader._tasks:
                await asyncio.sleep(0.01)

    with talking(app) as http:
        http.run(many())
        assert http.answer().json()["router"] == "new"
    assert at_once == [1, 1]


def test_a_load_that_hangs_fails_and_keeps_nobody_from_leaving(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.service.reloading.LOAD_TIMEOUT_S", 0.1)
    never = Event()

    def hang() -> Routes:
        never.wait(60)
        return NEW

    app = app_with(hang)
    with talking(app) as http:
        assert not reloading(http, app)
        assert http.answer().json()["router"] == "old"
    never.set()


def test_without_a_loader_there_is_no_reload() -> None:
    assert app_of().state.service.reloader is None


class FromTable(FakeEngine):
    """The fake, but what the router sees comes from the table's kind that the router was fitted on."""

    inputs: RouteInputs

    async def summarise(self, image: EncodedImage, turns: Sequence[str]) -> RouteInputs:
        return self.inputs


def test_an_altered_file_and_another_backbones_bundle_are_refused_and_a_sound_one_is_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "bundle"
    bundle = small_fit().bundle
    bundle.write(folder)
    engine = FromTable(fingerprint="synthetic")
    engine.inputs = outcomes(20, split="dev").route_inputs(0)
    values = settings(bundle=str(folder))
    app = create_app(values, engine, OLD, load_router=lambda: load_router(values, engine))
    sound = (folder / PREDICTOR).read_bytes()
    with talking(app) as http:
        (folder / PREDICTOR).write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
        assert not reloading(http, app)
        (folder / PREDICTOR).unlink()
        assert not reloading(http, app)
        (folder / PREDICTOR).write_bytes(sound)
        manifest = json.loads((folder / "manifest.json").read_text())
        other = {**manifest, "backbone": {**manifest["backbone"], "fingerprint": "another"}}
        (folder / "manifest.json").write_text(json.dumps(other))
        assert not reloading(http, app)
        assert http.answer().json()["router"] == "old"
        bundle.write(folder)
        assert reloading(http, app)
        assert http.answer().json()["router"] == bundle.version
    for told in ("was altered or damaged", "has no predictor.onnx", "was made for backbone 'another'"):
        assert told in caplog.text


def test_a_real_server_reloads_on_sighup_and_goes_on() -> None:
    with serving() as server:
        server.post("/v1/answer", json.dumps(good()).encode())  # from now on it serves
        for _ in range(2):
            os.kill(server.process.pid, signal.SIGHUP)
        status, body = server.post("/v1/answer", json.dumps(good()).encode())
        deadline = time.monotonic() + 30
        while "reloaded" not in "".join(server.log) and time.monotonic() < deadline:
            time.sleep(0.05)
        server.process.send_signal(signal.SIGTERM)
        code = server.process.wait(30)
    assert (status, code) == (200, 0)
    assert body["answer"]
    assert "The bundle was reloaded: no router, before no router." in "".join(server.log)
