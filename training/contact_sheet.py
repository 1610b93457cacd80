"""Contact sheets of ScaleBench: pictures of a family, what is asked, the answer and each scale's answer."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from PIL import Image, ImageDraw, ImageFont

from data.scalebench import Picture, Question, picture
from data.scalebench.canvas import FONTS
from data.scalebench.plans import PLANS
from data.scoring import METRICS
from m3_backbone.scales import Ladder
from m3_backbone.types import Generation, GenerationRequest

_SIDE, _TEXT, _LINE, _COLUMNS, _WIDE = 336, 380, 14, 2, 62
_NEW_TOKENS = 16
_INK, _RIGHT, _WRONG, _FAINT = (20, 20, 20), (0, 120, 40), (190, 30, 30), (120, 120, 120)

Line = tuple[str, tuple[int, int, int]]


class Backbone(Protocol):
    """What a sheet asks of a backbone."""

    ladder: Ladder

    def encode_image(self, image: Image.Image) -> Any: ...

    def generate(self, requests: Sequence[GenerationRequest]) -> list[Generation]: ...


@dataclass(frozen=True)
class Shown:
    """A picture with the answers at every scale, question by question; none without a backbone."""

    picture: Picture
    answers: tuple[Mapping[int, str], ...]


def show(split: str, per_family: int, backbone: Backbone | None) -> dict[str, list[Shown]]:
    """Family -> the first ``per_family`` of its pictures in ``split``."""
    found: dict[str, list[Shown]] = {family: [] for family in PLANS[split].families}
    for drawn in _pictures(split):
        shelf = found[drawn.family]
        if len(shelf) < per_family:
            shelf.append(Shown(drawn, _answers(drawn, backbone) if backbone else ()))
        if all(len(shelf) == per_family for shelf in found.values()):
            break
    return found


def draw(shown: Sequence[Shown]) -> Image.Image:
    """One sheet, two pictures side by side."""
    lines = [_lines(one) for one in shown]
    tall = max(_SIDE, *(len(told) * _LINE for told in lines)) + 12
    rows = -(-len(shown) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * (_SIDE + _TEXT), rows * tall), "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.truetype(str(FONTS / "LiberationSans-Regular.ttf"), 12)
    for k, (one, told) in enumerate(zip(shown, lines, strict=True)):
        x, y = k % _COLUMNS * (_SIDE + _TEXT), k // _COLUMNS * tall
        image = one.picture.image.copy()
        image.thumbnail((_SIDE, _SIDE), Image.Resampling.BICUBIC)
        sheet.paste(image, (x, y))
        for row, (text, ink) in enumerate(told):
            pen.text((x + _SIDE + 6, y + row * _LINE), text, ink, font)
    return sheet


def _pictures(split: str) -> Iterator[Picture]:
    return (picture(split, index) for index in range(PLANS[split].images))


def _answers(drawn: Picture, backbone: Backbone) -> tuple[Mapping[int, str], ...]:
    encoded = backbone.encode_image(drawn.image)
    scales = tuple(backbone.ladder)
    asked = [
        GenerationRequest((question.text,), ((encoded, scale),), _NEW_TOKENS)
        for question in drawn.questions
        for scale in scales
    ]
    said = iter(backbone.generate(asked))
    return tuple({scale: next(said).text for scale in scales} for _ in drawn.questions)


def _lines(shown: Shown) -> list[Line]:
    lines: list[Line] = [(shown.picture.image_id, _FAINT)]
    for number, question in enumerate(shown.picture.questions):
        asked = f"{question.kind}: {question.text} -> {question.answer}"
        lines += [(line, _INK) for line in textwrap.wrap(asked, _WIDE)]
        drawn = "  ".join(f"{name} {value:g}" for name, value in question.difficulty.items())
        lines.append((f"    {drawn}", _FAINT))
        if shown.answers:
            lines += _told(question, shown.answers[number])
    return lines


def _told(question: Question, answers: Mapping[int, str]) -> list[Line]:
    """The scales that answer rightly on one line, wrong answers on the next."""
    score = METRICS["exact_match"]
    right = [scale for scale, text in answers.items() if score(text, (question.answer,)) == 1.0]
    wrong = [f"{scale}: {text or '(nothing)'}" for scale, text in answers.items() if scale not in right]
    lines: list[Line] = []
    if right:
        lines.append((f"    right at {', '.join(map(str, right))}", _RIGHT))
    if wrong:
        lines += [(f"    {line}", _WRONG) for line in textwrap.wrap("  ".join(wrong), _WIDE)]
    return lines
