"""Streams of cascades: no token is taken back, long answers are decided on by their first tokens."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest

from m3_backbone.fake import FakeEngine, FakeRunner
from m3_backbone.types import Generation, GenerationRequest, OutOfMemory, TokenEvent
from tests.chatting import chat, events_of
from tests.serving import Talk, app_of, good, settings, talking
from tests.test_router_service_answer import counter
from tests.test_router_service_cascade import Thinking

LONG, BUFFER = 30, 4
UNSURE = 0.999
"""A threshold that no answer of the fake engine comes up to."""


class Counting(FakeRunner):
    """Notes how many tokens each request got before it was done; fails at the scales that it is told.

    cut_at: scales at which the next pass will be cut off, however late the word comes: it waits for it.
    """

    def __init__(self, fails_at: Sequence[int] = (), cut_at: Sequence[int] = (), **more: Any) -> None:
        super().__init__(**more)
        self.fails_at = fails_at
        self.cut_at = list(cut_at)
        self.made: list[tuple[int, int, str]] = []
        self.prompts: list[int] = []

    def generate(self, requests: Sequence[GenerationRequest], on_token: Any, cancelled: Any) -> Any:
        scale = requests[0].images[0][1]
        if scale in self.fails_at:
            return [OutOfMemory("as asked")] * len(requests)
        if scale in self.cut_at:
            self.cut_at.remove(scale)
            cancelled = waiting_for(cancelled)
        results = super().generate(requests, on_token, cancelled)
        for request, result in zip(requests, results, strict=True):
            if isinstance(result, Generation):
                self.made.append((request.images[0][1], len(result.token_ids), result.finish_reason))
                self.prompts.append(result.prompt_tokens)
        return results


def waiting_for(cancelled: Callable[[int], bool]) -> Callable[[int], bool]:
    """``cancelled``, which from the 20th time on is asked until it is true."""
    asked: list[int] = []

    def ask(index: int) -> bool:
        asked.append(index)
        end = time.monotonic() + 60
        while not (stop := cancelled(index)) and len(asked) >= 20:
            assert time.monotonic() < end
            time.sleep(0.005)
        return stop

    return ask


def engine_of(**more: Any) -> tuple[FakeEngine, Counting]:
    """An engine of long answers that takes its time, so that it can be cut off."""
    runner = Counting(**{"answer_tokens": LONG, "token_delay_s": 0.01, **more})
    engine = FakeEngine()
    engine.runner = runner
    return engine, runner


def config(**more: Any) -> Any:
    return settings(max_new_tokens=64, stream_buffer=BUFFER, **more)


def streamed(http: Talk, **more: Any) -> httpx.Response:
    return chat(http, stream=True, stream_options={"include_usage": True}, **more)


def text_of(chunks: Sequence[dict[str, Any]]) -> str:
    return "".join(each["choices"][0]["delta"].get("content", "") for each in chunks if each["choices"])


def routing_of(chunks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    (routing,) = (each["m3_routing"] for each in chunks if "m3_routing" in each)
    found: dict[str, Any] = routing
    return found


def at(http: Talk, scale: int) -> str:
    found: str = chat(http, m3={"scale": scale}).json()["choices"][0]["message"]["content"]
    return found


def test_unsure_first_tokens_cut_a_pass_off_and_none_of_it_is_shown() -> None:
    engine, runner = engine_of(cut_at=(36, 144))
    with talking(app_of(engine, Thinking(climb={}), config())) as http:
        response = streamed(http, m3={"cascade": UNSURE})
        made = list(runner.made)
        shown = at(http, 576)
        again = chat(http).status_code
    chunks = events_of(response)
    routing = routing_of(chunks)
    assert [each["scale"] for each in routing["passes"]] == [36, 144, 576]
    assert text_of(chunks) == shown
    assert (response.headers["x-m3-scale"], response.headers["x-m3-decision"]) == ("576", "cascade_stream")
    assert response.headers["x-m3-visual-tokens"] == str(36 + 144 + 576) == str(routing["visual_tokens"])
    assert (routing["policy"], routing["certified"]) == ("cascade_stream", False)
    assert "was unsure" in routing["reason"]
    assert again == 200
    cut = [(scale, tokens) for scale, tokens, reason in made if reason == "abort"]
    assert [scale for scale, _ in cut] == [36, 144]
    assert all(BUFFER <= tokens < LONG for _, tokens in cut)
    whole = LONG + 1
    assert chunks[-1]["usage"]["completion_tokens"] == sum(tokens for _, tokens in cut) + whole


def test_a_pass_that_is_cut_off_is_charged_for_what_it_made_and_the_picture_once() -> None:
    engine, runner = engine_of(cut_at=(144,))
    with talking(app_of(engine, Thinking(climb={}, score=(0.1, 0.1, 0.1, 0.9, 0.9)), config())) as http:
        routing = routing_of(events_of(streamed(http, m3={"cascade": UNSURE})))
    first, last = routing["passes"]
    (made,) = (tokens for scale, tokens, _ in runner.made if scale == 144)
    prompts = {prompt - scale for prompt, (scale, _, _) in zip(runner.prompts, runner.made, strict=True)}
    assert first["flops"] == runner.flops(
        views=1, visual_tokens=144, text_tokens=prompts.pop(), new_tokens=made
    )
    assert not prompts
    assert last["flops"] == routing["full_flops"] - runner.cost.tower_flops(1)
    assert routing["flops"] == first["flops"] + last["flops"]


def test_what_the_router_has_learned_is_of_whole_answers_so_a_longer_one_is_shown() -> None:
    def never() -> None:
        raise AssertionError("looked at")

    engine, runner = engine_of()
    with talking(app_of(engine, Thinking(between=never), config())) as http:
        response = streamed(http, m3={"cascade": True})
        assert text_of(events_of(response)) == at(http, 36)
    assert [each["scale"] for each in routing_of(events_of(response))["passes"]] == [36]
    assert response.headers["x-m3-decision"] == "cascade_stream"
    assert runner.made[0][1:] == (LONG + 1, "stop")


def test_an_answer_within_the_buffer_is_looked_at_as_a_whole_as_without_a_stream() -> None:
    engine, _ = engine_of(answer_tokens=2)
    with talking(app_of(engine, Thinking(), config())) as http:
        whole = chat(http, m3={"cascade": True}).json()
        chunks = events_of(streamed(http, m3={"cascade": True}))
    assert text_of(chunks) == whole["choices"][0]["message"]["content"]
    assert chunks[-1]["usage"] == whole["usage"]
    routing = routing_of(chunks)
    for name in ("scale", "passes", "visual_tokens", "flops", "full_flops"):
        assert routing[name] == whole["m3_routing"][name], name


@pytest.mark.parametrize("tokens", [2, LONG])
def test_a_larger_scale_that_fails_leaves_the_answer_at_hand_and_one_cut_off_is_made_again(
    tokens: int,
) -> None:
    engine, _ = engine_of(answer_tokens=tokens, fails_at=(144,), cut_at=(36,) if tokens == LONG else ())
    with talking(app_of(engine, Thinking(climb={}), config())) as http:
        response = streamed(http, m3={"cascade": UNSURE})
        shown = at(http, 36)
    chunks = events_of(response)
    assert text_of(chunks) == shown
    passes = [each["scale"] for each in routing_of(chunks)["passes"]]
    assert passes == ([36] if tokens < BUFFER else [36, 36])
    assert response.headers["x-m3-scale"] == "36"


def test_a_first_pass_that_fails_is_a_proper_error() -> None:
    engine, _ = engine_of(fails_at=(36,))
    with talking(app_of(engine, Thinking(), config())) as http:
        response = streamed(http, m3={"cascade": True})
    assert (response.status_code, response.json()["error"]["code"]) == (503, "out_of_memory")


def test_answers_that_cannot_be_longer_than_the_buffer_are_the_cascade_that_sees_them_whole() -> None:
    engine, _ = engine_of()
    with talking(app_of(engine, Thinking(), config())) as http:
        response = streamed(http, m3={"cascade": True}, max_tokens=BUFFER)
    routing = routing_of(events_of(response))
    assert response.headers["x-m3-decision"] == routing["policy"] == "cascade"
    assert [each["scale"] for each in routing["passes"]] == [36, 144]


def test_a_router_that_does_not_think_has_no_cascade_to_tell_of() -> None:
    engine, _ = engine_of()
    with talking(app_of(engine, None, config())) as http:
        response = streamed(http, m3={"cascade": 0.9})
    assert response.headers["x-m3-decision"] != "cascade_stream"
    assert len(routing_of(events_of(response))["passes"]) == 1


def test_passes_are_in_the_log_and_in_the_metrics_with_the_time_to_the_first_token(tmp_path: Path) -> None:
    with talking(app_of(FakeEngine(), Thinking(), config(decision_log=tmp_path))) as http:
        http.answer(cascade=True)
        http.post("/v1/route", json=good())
        chat(http)
        streamed(http, m3={"cascade": True})
        metrics = http.get("/metrics").text
    (file,) = tmp_path.glob("decisions-*.parquet")
    rows = pq.read_table(file).to_pylist()
    assert [row["passes"] for row in rows] == [[36, 144], [], [36], [36, 144]]
    assert [row["visual_tokens"] for row in rows] == [180, 36, 36, 180]
    assert [row["policy"] for row in rows] == ["cascade", "utility", "utility", "cascade_stream"]
    assert counter(metrics, 'm3_passes_total{number="1",scale="36"}') == 3
    assert counter(metrics, 'm3_passes_total{number="2",scale="144"}') == 2
    assert counter(metrics, "m3_first_token_seconds_count") == 3


def test_the_time_to_the_first_token_is_of_the_answer_that_is_given() -> None:
    class Timed(FakeRunner):
        def __init__(self) -> None:
            super().__init__(answer_tokens=2, token_delay_s=0.05)
            self.instants: list[float] = []

        def generate(self, requests: Sequence[GenerationRequest], on_token: Any, cancelled: Any) -> Any:
            def note(index: int, event: TokenEvent) -> None:
                self.instants.append(time.perf_counter())
                on_token(index, event)

            return super().generate(requests, note, cancelled)

    engine, runner = FakeEngine(), Timed()
    engine.runner = runner
    with talking(app_of(engine, Thinking(), config())) as http:
        http.answer(cascade=True)
        metrics = http.get("/metrics").text
    # The first pass has three tokens; the fourth is the second one's first.
    assert len(runner.instants) == 6
    took = runner.instants[3] - runner.instants[0]
    assert counter(metrics, "m3_first_token_seconds_sum") >= took - 0.001  # it is rounded
