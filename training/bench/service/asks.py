"""What is asked of the service: ScaleBench's pictures as files, a question about each, and their bodies."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import Any

from data.scalebench import samples
from data.scalebench.generator import QUESTIONS_PER_IMAGE

SPLIT = "dev"  # nothing is chosen by these measurements
PATH = "/v1/answer"


@dataclass(frozen=True)
class Asked:
    """A PNG file, and a question about it."""

    image: bytes
    question: str

    @cached_property
    def fields(self) -> dict[str, Any]:
        """The JSON body, as a client of the service sends it."""
        uri = f"data:image/png;base64,{base64.b64encode(self.image).decode()}"
        return {"image": uri, "question": self.question}

    def body(self, **more: Any) -> bytes:
        """`fields` and ``more`` of them, as they go over the wire."""
        return json.dumps({**self.fields, **more}).encode()


def draw(n: int) -> tuple[Asked, ...]:
    """``n`` different pictures with one question each, of every kind."""
    asked = []
    for place, sample in enumerate(samples(SPLIT, n * QUESTIONS_PER_IMAGE)):
        picture, number = divmod(place, QUESTIONS_PER_IMAGE)
        if number == picture % QUESTIONS_PER_IMAGE:
            file = BytesIO()
            sample.open_image().save(file, format="PNG")
            asked.append(Asked(file.getvalue(), sample.question))
    return tuple(asked)
