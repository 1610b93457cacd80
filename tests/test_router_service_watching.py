"""Requests that are answered again: which, when, how many may wait, and what they may never do."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from m3_backbone.fake import MARKERS, FakeEngine
from router.constraints import Constraints
from router.service.app import create_app
from router.service.metrics import Metrics
from router.service.pipeline import Pipeline
from router.service.quality import Watched
from router.service.results import Answered
from router.service.sampling import Sampling
from router.service.watching import WAITING, Drawn, Watch
from tests.chatting import chat, image_part, user
from tests.serving import ScriptedRouter, Talk, app_of, good, picture, settings, talking
from tests.test_router_service_answer import SCALES, counter

TURNS = ("What colour is this?",)


def watched(http: Talk, n: int) -> dict[str, Any]:
    """/v1/quality when ``n`` requests have been watched, whatever became of them."""

    async def wait() -> dict[str, Any]:
        async with asyncio.timeout(60):
            while True:
                body: dict[str, Any] = (await http.client.get("/v1/quality")).json()
                if sum(body["watch"]["counts"].values()) >= n:
                    return body
                await asyncio.sleep(0.02)

    body: dict[str, Any] = http.run(wait())
    return body


def test_every_answer_is_held_against_the_full_scale_from_one_encoding() -> None:
    engine = FakeEngine()
    questions = [f"What is number {i}?" for i in range(12)]
    with talking(app_of(engine, ScriptedRouter(), settings(watch_share=1))) as http:
        for question in questions:
            assert http.answer(question=question).status_code == 200
        body = watched(http, len(questions))
        metrics = http.get("/metrics").text
        compared = [http.post("/v1/compare", json=good(question=question)).json() for question in questions]
    agreed = [at["answer"] == at["answers"][-1]["answer"] for at in compared]
    assert 0 < sum(agreed) < len(agreed)
    assert body["watch"]["counts"] == {
        "agreed": sum(agreed),
        "disagreed": len(agreed) - sum(agreed),
        "dropped": 0,
        "failed": 0,
    }
    assert body["agreement"]["watched"] == len(questions)
    assert body["agreement"]["mean"] == pytest.approx(sum(agreed) / len(agreed), abs=1e-5)
    for i, at in enumerate(body["scales"]):
        same = [c["answers"][i]["answer"] == c["answers"][-1]["answer"] for c in compared]
        assert at["watched"] == len(questions)
        assert at["agreement"] == pytest.approx(sum(same) / len(same), abs=1e-5)
    assert engine.fake.encoded == 1
    assert counter(metrics, 'm3_watched_total{outcome="agreed"}') == sum(agreed)
    assert counter(metrics, "m3_visual_tokens_total") == 36 * len(questions)  # the watch is not in there


@pytest.mark.parametrize(
    "more", [{"scale": 36}, {"max_visual_tokens": 50}, {"min_scale": 9}, {"token_budget": 40}]
)
def test_what_a_client_asked_for_is_not_held_against_the_router(more: dict[str, Any]) -> None:
    with talking(app_of(router=ScriptedRouter(), config=settings(watch_share=1))) as http:
        assert http.answer(**more).status_code == 200
        assert http.answer().status_code == 200
        assert watched(http, 1)["agreement"]["watched"] == 1


def test_chats_are_watched_too_streamed_or_not_but_not_when_they_are_drawn_by_lot() -> None:
    with talking(app_of(router=ScriptedRouter(), config=settings(watch_share=1))) as http:
        assert chat(http).status_code == 200
        assert chat(http, stream=True).status_code == 200
        assert chat(http, temperature=1.0).status_code == 200
        assert chat(http, messages=[{"role": "user", "content": "What?"}]).status_code == 200
        assert chat(http, messages=[user(image_part(), image_part())]).status_code == 200
        assert http.answer().status_code == 200
        assert watched(http, 3)["agreement"]["watched"] == 3


def test_a_service_without_a_router_watches_nothing() -> None:
    with talking(app_of(config=settings(watch_share=1))) as http:
        assert http.answer().status_code == 200
        body = http.get("/v1/quality").json()
    assert body["router"] is None
    assert sum(body["watch"]["counts"].values()) + body["watch"]["waiting"] == 0


@asynccontextmanager
async def watching(
    engine: FakeEngine, share: float = 1.0, chance: float = 0.0
) -> AsyncIterator[tuple[Pipeline, Watch, list[Watched]]]:
    """A watch that runs on a pipeline of its own, and what it found."""
    config = settings()
    pipeline = Pipeline(config, engine, ScriptedRouter())
    found: list[Watched] = []
    watch = Watch(
        pipeline,
        Metrics(engine, "scripted"),
        found.append,
        share=share,
        usual=Constraints(),
        chance=lambda: chance,
    )
    await engine.start()
    watch.start()
    try:
        yield pipeline, watch, found
    finally:
        await watch.close()
        await engine.close()
        pipeline.close()


async def answered(pipeline: Pipeline, question: str = TURNS[0]) -> Answered:
    return await pipeline.answer(
        picture(), (question,), Constraints(), deadline=time.monotonic() + 60, request_id="r"
    )


async def until(watch: Watch, n: int) -> None:
    async with asyncio.timeout(60):
        while sum(watch.counts.values()) < n:
            await asyncio.sleep(0.01)


def test_a_share_is_drawn_at_arrival() -> None:
    async def run() -> None:
        for chance, drawn in ((0.24, True), (0.25, False), (0.9, False)):
            async with watching(FakeEngine(), share=0.25, chance=chance) as (_, watch, _):
                assert (watch.draw(TURNS, (Constraints(),)) is not None) == drawn
                assert watch.draw(TURNS, ()) is None
                assert watch.draw(TURNS, (Constraints(), Constraints())) is None
                assert watch.draw(TURNS, (Constraints(),), Sampling(8, temperature=0.5)) is None

    asyncio.run(run())


def test_a_bounded_number_waits_and_the_oldest_gives_way() -> None:
    async def run() -> None:
        async with watching(FakeEngine()) as (pipeline, watch, found):
            done = await answered(pipeline)
            for i in range(WAITING + 4):  # in one go: nothing is taken in between
                watch.offer(Drawn(TURNS), done, f"r{i}")
            assert watch.waiting == WAITING
            assert watch.counts["dropped"] == 4
            await until(watch, WAITING + 4)
            assert [each.request_id for each in found] == [f"r{i}" for i in range(4, WAITING + 4)]
            assert all(list(each.at) == list(SCALES) for each in found)

    asyncio.run(run())


def test_another_request_does_not_wait_for_the_watch_which_tries_again_afterwards() -> None:
    async def run() -> None:
        engine = FakeEngine(token_delay_s=0.05, answer_tokens=12)
        async with watching(engine) as (pipeline, watch, found):
            watch.offer(Drawn(TURNS), await answered(pipeline), "r")
            async with asyncio.timeout(30):
                while watch.waiting or engine.health().running == 0:
                    await asyncio.sleep(0.005)
            await answered(pipeline, "And another thing?")
            await until(watch, 1)
            assert len(found) == 1
        # 5 scales of the watch, 2 answers, and at least 1 that was given up for the second of them.
        assert len(engine.fake.batches) >= 8

    asyncio.run(run())


@pytest.mark.parametrize(("fault", "failed"), [("oom", 1), ("exception", 1), ("death", 1)])
def test_a_fault_of_the_watch_is_counted_and_nothing_else(
    fault: str, failed: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        engine = FakeEngine()
        async with watching(engine) as (pipeline, watch, found):
            done = await answered(pipeline, "xyzzy?")
            engine.fake.faults = {"xyzzy": MARKERS[f"[{fault}]"]}
            watch.offer(Drawn(("xyzzy?",)), done, "r")
            await until(watch, 1)
            assert watch.counts["failed"] == failed
            assert not found
            if fault != "death":
                assert (await answered(pipeline, "And then?")).generation.text

    with caplog.at_level(logging.DEBUG):
        asyncio.run(run())
    assert "xyzzy" not in caplog.text


def test_a_scale_at_which_the_prompt_does_not_fit_is_left_out_and_without_the_full_one_there_is_nothing() -> (
    None
):
    async def run() -> None:
        async with watching(FakeEngine(context_tokens=200)) as (pipeline, watch, found):
            watch.offer(Drawn(TURNS), await answered(pipeline), "r")
            await until(watch, 1)
            assert watch.counts["failed"] == 1
            assert not found

    asyncio.run(run())


def test_the_watch_ends_with_the_service_whatever_it_has_to_do() -> None:
    engine = FakeEngine(token_delay_s=0.05, answer_tokens=30)
    app = create_app(settings(watch_share=1), engine, ScriptedRouter())
    with talking(app) as http:
        for i in range(3):
            assert http.answer(question=f"And {i}?").status_code == 200
    assert len(engine.fake.batches) < 3 + 3 * len(SCALES)  # it was left in the midst of them
    assert app.state.service.watch.waiting == 0


def test_nothing_that_was_asked_or_answered_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.DEBUG, logger="m3_router"),
        talking(app_of(router=ScriptedRouter(), config=settings(watch_share=1))) as http,
    ):
        answer = http.answer(question="xyzzy plugh?").json()["answer"]
        body = watched(http, 1)
        metrics = http.get("/metrics").text
    assert body["watch"]["counts"]["failed"] == 0
    for text in ("xyzzy", "plugh", f'"{answer}"'):
        assert text not in str(body)
        assert text not in metrics
        assert text not in "".join(r.getMessage() for r in caplog.records if r.name.startswith("m3"))
