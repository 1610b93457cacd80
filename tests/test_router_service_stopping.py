"""Texts that end an answer: never shown, never taken back, whatever pieces they come in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3_backbone.fake import FakeEngine
from m3_backbone.types import Generation, GenerationRequest, TokenEvent
from router.service.stopping import Stopping
from tests.chatting import asked, chat, events_of
from tests.serving import ScriptedRouter, app_of, settings, talking


def ended(text: str) -> Generation:
    return Generation(text, (1, 2), (-0.1, -0.1), 0.5, "length", 10, 9)


def shown(pieces: Sequence[str], *stops: str) -> list[str]:
    """What is seen of ``pieces``, piece by piece, after checking the last event."""
    stopping = Stopping(stops)
    whole = "".join(pieces)
    events = [TokenEvent(piece) for piece in pieces[:-1]] + [TokenEvent(pieces[-1], generation=ended(whole))]
    cut = [stopping.cut(event) for event in events]
    last = cut[-1].generation
    assert last is not None
    assert last.text == "".join(event.text for event in cut)
    assert last.finish_reason == ("stop" if stopping.stopped else "length")
    return [event.text for event in cut]


@pytest.mark.parametrize(
    ("pieces", "stops", "expected"),
    [
        (["a b c"], ["x"], ["a b c"]),
        (["a", " b", " c"], [" b"], ["a", "", ""]),
        (["one st", "op two"], ["stop"], ["one ", ""]),
        (["one st", "ay"], ["stop"], ["one ", "stay"]),
        (["one st"], ["stop"], ["one st"]),
        (["aab"], ["b", "ab"], ["a"]),
        (["abc"], ["a"], [""]),
        (["s", "t", "o", "p", "!"], ["stop"], ["", "", "", "", ""]),
        (["ba", "b"], ["a", "bab"], ["", ""]),  # the longer one began before
        (["ba", "c"], ["a", "bab"], ["", "b"]),
        (["ba"], ["a", "bab"], ["b"]),
    ],
)
def test_the_answer_ends_before_the_first_stop_and_beginnings_of_one_are_held_back(
    pieces: list[str], stops: list[str], expected: list[str]
) -> None:
    assert shown(pieces, *stops) == expected


@given(
    pieces=st.lists(st.text("ab", max_size=4), min_size=1, max_size=12),
    stops=st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=4),
)
def test_pieces_never_change_what_is_shown(pieces: list[str], stops: list[str]) -> None:
    whole = "".join(pieces)
    first = min((at for at in map(whole.find, stops) if at >= 0), default=len(whole))
    assert "".join(shown(pieces, *stops)) == whole[:first]


class Counting(FakeEngine):
    """The fake, but it answers with the words one two three ...; it notes what it was told to end."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted: list[str] = []
        self.ids: list[str] = []

    async def generate(
        self, request: GenerationRequest, *, deadline: float | None = None
    ) -> AsyncIterator[TokenEvent]:
        self.ids.append(request.request_id)
        words = ["one", " two", " three", " four", " five"]
        for n, word in enumerate(words, 1):
            end = n == len(words) or request.request_id in self.aborted
            whole = Generation(
                "".join(words[:n]), tuple(range(n)), (-0.1,) * n, 0.5, "stop", 20, request.visual_tokens
            )
            yield TokenEvent(word, n, -0.1, whole if end else None)
            if end:
                return

    async def abort(self, request_id: str) -> None:
        self.aborted.append(request_id)


@pytest.mark.parametrize("stop", [" three", ["x", "three"]])
def test_a_chat_stops_at_its_text_and_the_engine_does_not_go_on(stop: Any) -> None:
    engine = Counting()
    with talking(app_of(engine, ScriptedRouter())) as http:
        body = chat(http, stop=stop).json()
        chunks = events_of(http.post("/v1/chat/completions", json=asked(stream=True, stop=stop)))
    text = "one two" if isinstance(stop, str) else "one two "
    assert body["choices"][0]["message"]["content"] == text
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["usage"]["completion_tokens"] == 4  # one more than was seen: it was under way
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == text
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert engine.aborted == engine.ids
    assert len(set(engine.ids)) == 2


def test_the_real_queue_ends_an_answer_that_was_stopped_early() -> None:
    engine = FakeEngine(answer_tokens=200, token_delay_s=0.01)
    with talking(app_of(engine, ScriptedRouter(), settings(max_new_tokens=256))) as http:
        whole = chat(http).json()
        word = whole["choices"][0]["message"]["content"].split()[2]
        cut = chat(http, stop=[word], m3={}).json()
    assert word not in cut["choices"][0]["message"]["content"]
    assert cut["choices"][0]["finish_reason"] == "stop"
    assert 0 < cut["usage"]["completion_tokens"] < whole["usage"]["completion_tokens"]
    assert cut["usage"]["prompt_tokens"] == whole["usage"]["prompt_tokens"]


NOTHING: tuple[Any, ...] = (None, [])


def test_null_and_an_empty_list_stop_nothing() -> None:
    with talking(app_of()) as http:
        whole = chat(http).json()["choices"][0]["message"]["content"]
        for nothing in NOTHING:
            assert chat(http, stop=nothing).json()["choices"][0]["message"]["content"] == whole
