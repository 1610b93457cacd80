"""One question about one image, as a body of the service."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from router.constraints import LossName

ImageFile = bytes | str | os.PathLike[str]
"""The content of a JPEG, PNG, WEBP or GIF file, or its path."""


class Limits(TypedDict, total=False):
    """scale: forced. min_scale: floor. max_visual_tokens: ceiling. token_budget: mean tokens per request.
    accuracy_drop: expected loss against the full scale, with its delta and loss (regret, net, agreement).
    cascade: whether the answer is made again at a larger scale where that pays, or a probability below which.

    What is left out, or None, is the service's to decide.
    """

    scale: int | None
    min_scale: int | None
    max_visual_tokens: int | None
    token_budget: float | None
    accuracy_drop: float | None
    delta: float | None
    loss: LossName | None
    cascade: bool | float | None


@dataclass(frozen=True, slots=True)
class Ask:
    """A question, for a batch; the rest is that of `Limits`."""

    image: ImageFile
    question: str
    scale: int | None = None
    min_scale: int | None = None
    max_visual_tokens: int | None = None
    token_budget: float | None = None
    accuracy_drop: float | None = None
    delta: float | None = None
    loss: LossName | None = None
    cascade: bool | float | None = None

    def fields(self) -> dict[str, Any]:
        """The JSON body. Raises OSError when the image's file cannot be read."""
        data = self.image if isinstance(self.image, bytes) else Path(self.image).read_bytes()
        limits = {
            "scale": self.scale,
            "min_scale": self.min_scale,
            "max_visual_tokens": self.max_visual_tokens,
            "token_budget": self.token_budget,
            "accuracy_drop": self.accuracy_drop,
            "delta": self.delta,
            "loss": self.loss,
            "cascade": self.cascade,
        }
        return {
            "image": base64.b64encode(data).decode(),
            "question": self.question,
            **{name: value for name, value in limits.items() if value is not None},
        }
