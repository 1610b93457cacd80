"""Drawing that remembers: labels and places of what was drawn, flat and tilted; surfaces and finishes."""

from __future__ import annotations

import random

import numpy as np
import pytest
from PIL import Image

from data.scalebench.canvas import Canvas
from data.scalebench.finishes import artefacts, harmless
from data.scalebench.labels import GRID, PATCH
from data.scalebench.style import FONTS, UNSEEN_FONTS, Style
from data.scalebench.surface import Tilt
from data.scalebench.vocabulary import CHARACTERS, COLOURS, word_class

BOLD = "LiberationSans-Bold.ttf"


def level(image: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.asarray(image.convert("L"), np.float64)


def test_dense_labels_name_what_lies_under_the_patch() -> None:
    canvas = Canvas(336, 336, "white", BOLD)
    canvas.shape("circle", "red", 70, 70, 40)
    box = canvas.text("bread", 140, 240, 28)
    labels = canvas.labels()
    assert labels["colour"][5, 5] == 1 + list(COLOURS).index("red")
    assert labels["kind"][5, 5] == 1
    assert labels["kind"][20, 2] == labels["colour"][20, 2] == 0
    row, column = int((box[1] + box[3]) / 2) // PATCH, int((box[0] + box[2]) / 2) // PATCH
    assert labels["word"][row, column] == word_class("bread")
    assert labels["char"][row, column] - 1 in {CHARACTERS.index(c) for c in "bread"}
    assert labels["start"].sum() >= 1
    assert (labels["background"] == list(COLOURS).index("white")).all()


def test_what_is_drawn_later_lies_on_top() -> None:
    canvas = Canvas(336, 336, "white", BOLD)
    canvas.block("box", "blue", (0, 0, 140, 140))
    canvas.shape("star", "yellow", 70, 70, 30)
    labels = canvas.labels()
    assert labels["colour"][4, 4] == 1 + list(COLOURS).index("yellow")
    assert labels["colour"][0, 0] == 1 + list(COLOURS).index("blue")


@pytest.mark.parametrize("font", [*FONTS, *UNSEEN_FONTS])
@pytest.mark.parametrize("height", [9.0, 14.5, 40.0])
def test_capitals_are_as_high_as_asked_in_every_font(font: str, height: float) -> None:
    canvas = Canvas(672, 672, "white", font)  # two pixels for each unit
    canvas.text("h", 60, 60, height)
    ink = np.flatnonzero((level(canvas.image) < 128).any(axis=1))
    tall = (ink[-1] - ink[0] + 1) / canvas.unit
    assert tall == pytest.approx(height, rel=0.16)  # a small h may be a little higher than a capital


def test_labels_follow_a_tilted_canvas() -> None:
    found = 0
    for seed in range(5):
        canvas = Canvas(336, 336, "white", BOLD)
        canvas.tilt(random.Random(seed), 0.12, "white")
        canvas.block("sign", "black", (200, 200, 330, 300))
        dark = level(canvas.finished()) < 128
        share = dark.reshape(GRID, PATCH, GRID, PATCH).mean(axis=(1, 3))
        kind = canvas.labels()["kind"] > 0
        assert kind[share > 0.9].all()
        assert not kind[share == 0.0].any() or kind[share == 0.0].mean() < 0.05
        found += int((share > 0.9).sum())
    assert found > 50


def test_a_tilt_maps_points_to_where_they_are_seen() -> None:
    tilt = Tilt.draw(random.Random(3), 336, 224, 0.1)
    image = Image.new("RGB", (672, 448), "white")
    image.paste((0, 0, 0), (396, 96, 404, 104))
    seen = level(tilt.seen(image, 2.0, (255, 255, 255)))
    y, x = (float(values.mean()) / 2 for values in np.nonzero(seen < 128))
    assert (x, y) == pytest.approx(tilt.point(200, 50), abs=0.6)


def test_places_are_ninths_of_the_picture_as_seen() -> None:
    canvas = Canvas(504, 336, "white", BOLD)
    assert canvas.place(1, 1) == "top left"
    assert canvas.place(canvas.width / 2, canvas.height / 2) == "centre"
    assert canvas.place(canvas.width - 1, canvas.height - 1) == "bottom right"
    assert canvas.clearance(canvas.width / 3 + 2, canvas.height / 2) == pytest.approx(2)


def test_padding_has_no_background() -> None:
    labels = Canvas(504, 336, "blue", BOLD).labels()["background"]
    assert (labels[:3] == -1).all()
    assert (labels[8] == list(COLOURS).index("blue")).all()


def test_fit_keeps_texts_within_a_width() -> None:
    canvas = Canvas(336, 336, "white", BOLD)
    height = canvas.fit(["museum", "ok"], 40, 100)
    assert height < 40
    assert canvas.text_size("museum", height)[0] <= 104  # whole pixels of the font's size
    assert canvas.fit(["ok"], 12, 300) == 12


def test_surfaces_change_the_picture_by_as_much_as_asked() -> None:
    def drawn(change: str, amount: float) -> float:
        canvas = Canvas(336, 336, "grey", BOLD)
        {"gradient": canvas.gradient, "mottle": canvas.mottle, "noise": canvas.noise}[change](
            random.Random(1), amount
        )
        return float(level(canvas.finished()).std())

    assert drawn("noise", 8) == pytest.approx(8, rel=0.1)
    for change in ("gradient", "mottle"):
        assert 0 < drawn(change, 0.2) < drawn(change, 0.5)
    sharp, soft = Canvas(336, 336, "white", BOLD), Canvas(336, 336, "white", BOLD)
    soft.blur(1.5)
    for canvas in (sharp, soft):
        canvas.block("box", "black", (100, 100, 200, 200))
    steep = [np.abs(np.diff(level(canvas.finished()), axis=1)).max() for canvas in (sharp, soft)]
    assert steep[1] < steep[0] / 2


def test_a_palette_stays_near_its_names() -> None:
    for seed in range(20):
        palette = Style().palette(random.Random(seed))
        for name, shade in palette.items():
            away = {n: sum(abs(a - b) for a, b in zip(COLOURS[n], shade, strict=True)) for n in COLOURS}
            assert min(away, key=lambda n: away[n]) == name


def test_harmless_means_hardly_visible_and_artefacts_do_not() -> None:
    canvas = Canvas(400, 300, "white", BOLD)
    canvas.block("sign", "red", (60, 60, 220, 140))
    canvas.text("hotel", 140, 100, 24, "white", "mm")
    image = canvas.finished()
    one, other = harmless(image, random.Random(1)), artefacts(image, random.Random(1))
    assert one.size == other.size == image.size
    before = level(image)
    moved = min(
        np.abs(np.roll(before, (dy, dx), (0, 1)) - level(one))[2:-2, 2:-2].mean()
        for dx in (-1, 0, 1)
        for dy in (-1, 0, 1)
        if dx or dy
    )
    assert moved < 1.0
    assert np.abs(before - level(other)).mean() > 2 * moved
    assert one.tobytes() == harmless(image, random.Random(1)).tobytes()


def test_no_two_replicates_are_perturbed_alike_though_they_draw_alike() -> None:
    canvas = Canvas(200, 150, "white", BOLD)
    canvas.text("hotel", 100, 75, 24, "black", "mm")
    image = canvas.finished()
    kept = [harmless(image, *(random.Random(1) for _ in range(k))).tobytes() for k in range(1, 5)]
    assert len(set(kept)) == 4
