"""Rows with an error for what could not be opened."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from data.records import Sample
from data.unreadable import NAME, write_unreadable


def samples(*images: str) -> Iterator[Sample]:
    for number, image in enumerate(images):
        yield Sample(
            sample_id=f"s{number}",
            image_id=image,
            open_image=lambda: Image.new("RGB", (1, 1)),
            question=f"Wö {number}?",
            answers=("a",),
            metric="exact_match",
            dataset="mine",
            split="",
        )


def test_every_sample_of_a_bad_image_is_a_row_image_by_image(tmp_path: Path) -> None:
    assert write_unreadable(tmp_path, samples("a", "b", "c", "a"), {"a": "gone", "c": "torn"}) == 3
    rows = [json.loads(line) for line in (tmp_path / NAME).read_text(encoding="utf-8").splitlines()]
    assert [(r["sample_id"], r["image_id"], r["error"]) for r in rows] == [
        ("s0", "a", "gone"),
        ("s3", "a", "gone"),
        ("s2", "c", "torn"),
    ]
    assert (rows[0]["question"], rows[0]["dataset"]) == ("Wö 0?", "mine")


def test_without_errors_nothing_is_read_and_an_old_file_is_removed(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("old")
    unread = samples("a", "b")
    assert write_unreadable(tmp_path, unread, {}) == 0
    assert not (tmp_path / NAME).exists()
    assert len(list(unread)) == 2


def test_a_reader_that_fails_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("old")

    def failing() -> Iterator[Sample]:
        yield from samples("a")
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        write_unreadable(tmp_path, failing(), {"a": "torn"})
    assert (tmp_path / NAME).read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
