"""Chats of several turns: the last thing that the user says decides, in every engine and over HTTP."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from m3_backbone.fake import FakeEngine
from m3_backbone.types import RouteInputs
from router.constraints import Constraints
from router.policy import Decision
from tests.chatting import chat, image_part, user
from tests.serving import ScriptedRouter, app_of, talking

FIRST = {"role": "user", "content": "How many words are on the large sign?"}
REPLY = {"role": "assistant", "content": "Three."}


class Noting(ScriptedRouter):
    """Routes as it is told to; it notes what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[RouteInputs] = []

    def route(self, inputs: RouteInputs, constraints: Constraints | None = None) -> Decision:
        self.seen.append(inputs)
        return super().route(inputs, constraints)


def alike(one: RouteInputs, other: RouteInputs) -> bool:
    """Whether a router sees the same in both: the length of the prompt is a cost, and no feature."""
    arrays = ("grid_stats", "pooled", "question", "question_tokens", "interaction")
    same = all(np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays)
    return same and one.question_text == other.question_text


@pytest.mark.parametrize("engine", ["fake", "m3-tiny"])
def test_route_inputs_are_those_of_the_last_turn(engine: str) -> None:
    turns = ("How many words?", "Three.", "And what colour is it?")
    pixels = Image.new("RGB", (40, 30), "blue")
    if engine == "fake":
        backbone: Any = FakeEngine().fake
        image = backbone.encode(pixels)
    else:
        from m3_backbone import embedded_path, load_backbone

        backbone = load_backbone(embedded_path())
        image = backbone.encode_image(pixels)
    alone, after, other = (backbone.summarise(image, t) for t in (turns[2:], turns, turns[:1]))
    assert alike(alone, after)
    assert not alike(alone, other)
    assert after.text_tokens > alone.text_tokens


def test_the_last_thing_that_the_user_says_decides_in_whichever_message_the_image_came() -> None:
    router = Noting()
    ask = {"role": "user", "content": "What colour is this?"}
    chats = (
        [user()],
        [FIRST, REPLY, user()],
        [user(text=str(FIRST["content"])), REPLY, ask],
    )
    with talking(app_of(router=router)) as http:
        bodies = [chat(http, messages=messages).json() for messages in chats]
    assert [inputs.question_text for inputs in router.seen] == ["What colour is this?"] * 3
    assert alike(router.seen[0], router.seen[1])
    assert alike(router.seen[0], router.seen[2])
    assert len({body["m3_routing"]["scale"] for body in bodies}) == 1


def test_every_image_of_a_conversation_has_one_scale_chosen_for_the_last_turn() -> None:
    router = Noting()
    messages = [user(image_part(), text="First?"), REPLY, user(image_part("low"), text="And this one?")]
    with talking(app_of(router=router)) as http:
        body = chat(http, messages=messages).json()
    assert {inputs.question_text for inputs in router.seen} == {"And this one?"}
    assert [image["scale"] for image in body["m3_routing"]["images"]] == [36, 9]
    assert body["m3_routing"]["certified"] is False
