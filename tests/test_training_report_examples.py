"""Examples: which are chosen, and their pictures."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from data.records import Sample
from tests.reporting import report
from training.report.examples import choose_examples, data_uri, with_pictures


def test_examples_are_of_different_images_and_of_every_kind() -> None:
    chosen = choose_examples(report(), 6)
    table_ = report().inputs.table
    assert len({int(table_.image_index[e.row]) for e in chosen}) == len(chosen) == 6
    assert len({e.title for e in chosen}) == 6
    assert choose_examples(report(), 6) == chosen
    assert choose_examples(report(), 6, seed=1) != chosen


def test_pictures_are_found_by_sample_and_reading_stops_with_the_last() -> None:
    chosen = choose_examples(report(), 2)
    table_ = report().inputs.table
    asked = []

    def samples() -> Iterator[Sample]:
        for sample_id in table_.sample_ids:
            asked.append(sample_id)
            yield Sample(
                sample_id,
                "",
                lambda: Image.new("RGB", (1000, 500)),
                "",
                (),
                "exact_match",
                "synthetic",
                "dev",
            )

    shown = with_pictures(chosen, table_, samples())
    assert all(e.picture.startswith("data:image/") for e in shown)
    assert len(asked) <= max(e.row for e in chosen) + 2


def test_pictures_are_small_and_take_the_better_format() -> None:
    flat = data_uri(Image.new("RGB", (2000, 1000), "red"))
    assert flat.startswith("data:image/png")
    assert len(flat) < 4000
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8))
    assert data_uri(noise).startswith("data:image/jpeg")


def test_a_picture_that_is_gone_leaves_the_others_theirs() -> None:
    chosen = choose_examples(report(), 2)
    table_ = report().inputs.table

    def gone() -> Image.Image:
        raise OSError("no such file")

    def samples() -> Iterator[Sample]:
        for at, e in enumerate(chosen):
            opener = gone if at == 0 else lambda: Image.new("RGB", (10, 5))
            yield Sample(table_.sample_ids[e.row], "", opener, "", (), "exact_match", "synthetic", "dev")

    pictures = [e.picture for e in with_pictures(chosen, table_, samples())]
    assert pictures[0] == ""
    assert pictures[1].startswith("data:image/")
