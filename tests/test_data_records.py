from __future__ import annotations

import os
import tracemalloc
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from data.files import write_atomically
from data.joining import concat
from data.records import RecordError, read_outcomes, write_outcomes
from tests.labelling import assert_equal, route_inputs, samples, table


def test_a_table_comes_back_from_disk_as_it_was(tmp_path: Path) -> None:
    made = table(6, 3)
    write_outcomes(tmp_path / "t", made)
    back = read_outcomes(tmp_path / "t")
    assert_equal(made, back)
    assert back.manifest["prompt"] == "plain"
    assert back.manifest["counts"] == {"samples": 18, "images": 6, "questions": 15, "outcomes": 54}
    assert back.backbone_fingerprint == "fake-1"
    assert back.split == "dev"


def test_the_probability_of_the_full_answer_is_a_column_where_any_is_known(tmp_path: Path) -> None:
    plain = table()
    assert np.isnan(plain.full_logprob).all()
    assert plain.full_logprob.shape == plain.scores.shape
    write_outcomes(tmp_path / "plain", plain)
    assert "full_logprob" not in pq.read_schema(tmp_path / "plain" / "outcomes.parquet").names
    nats = np.full(plain.scores.shape, -0.25, np.float32)
    nats[3, 1] = np.nan
    known = replace(plain, full_logprob=nats)
    write_outcomes(tmp_path / "known", known)
    assert "full_logprob" in pq.read_schema(tmp_path / "known" / "outcomes.parquet").names
    assert_equal(read_outcomes(tmp_path / "known"), known)
    # A table of before beside one of now: what is not known is not known.
    both = concat([plain, replace(table(2, first=4), full_logprob=np.zeros((4, 3), np.float32))])
    assert np.isnan(both.full_logprob[:8]).all()
    assert (both.full_logprob[8:] == 0).all()


def test_writing_the_same_table_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    write_outcomes(tmp_path / "a", table())
    write_outcomes(tmp_path / "b", table())
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*"))
    assert len(files) == 7
    for path in files:
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()


def test_a_table_is_replaced_whole_and_leaves_no_temporary_files(tmp_path: Path) -> None:
    write_outcomes(tmp_path, table(3))
    write_outcomes(tmp_path, table(5))
    assert len(read_outcomes(tmp_path)) == 10
    assert not [p for p in tmp_path.rglob("*") if p.name.endswith(".tmp")]


def test_route_inputs_are_bit_for_bit_what_the_backbone_gave(tmp_path: Path) -> None:
    write_outcomes(tmp_path, table(4, 2))
    back = read_outcomes(tmp_path)
    for i, sample in enumerate(samples(4, 2)):
        given, stored = route_inputs(sample.image_id, sample.question), back.route_inputs(i)
        for field in fields(given):
            x, y = getattr(given, field.name), getattr(stored, field.name)
            if isinstance(x, np.ndarray):
                np.testing.assert_array_equal(x, y)
                assert x.dtype == y.dtype
            else:
                assert x == y
    with pytest.raises(RecordError, match="Sample 8 is not in a table of 8"):
        back.route_inputs(8)


def test_question_arrays_are_stored_once_per_distinct_question(tmp_path: Path) -> None:
    write_outcomes(tmp_path, table(20, 2))  # questions repeat every 5 images
    assert pq.read_table(tmp_path / "questions.parquet").num_rows == 10


def test_a_large_table_is_small_on_disk_and_quick_to_read(tmp_path: Path) -> None:
    write_outcomes(tmp_path, table(500, 4))
    bytes_ = sum(p.stat().st_size for p in tmp_path.iterdir())
    assert bytes_ < 500 * 1000, bytes_


def test_sufficient_needs_a_score_near_the_best_and_a_best_above_zero() -> None:
    t = replace(table(2, 2), scores=np.array([[0, 0, 0], [0.3, 0.9, 0.6], [1, 0, 1], [0.8, 0.9, 1.0]]))
    assert t.sufficient().tolist() == [[0, 0, 0], [0, 1, 0], [1, 0, 1], [0, 0, 1]]
    assert t.sufficient(0.3).tolist() == [[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1]]
    tenths = replace(t, scores=np.array([[0.3 + 0.6, 0.9, 0.1]] * 4))
    assert tenths.sufficient()[0].tolist() == [True, True, False]
    with pytest.raises(RecordError, match=r"tolerance .* got 1\.5"):
        t.sufficient(1.5)


def test_take_keeps_order_and_only_the_images_that_are_needed(tmp_path: Path) -> None:
    whole = table(5, 2)
    part = whole.take([7, 0, 1])
    assert part.sample_ids == ("toy/3/1", "toy/0/0", "toy/0/1")
    assert part.image_ids == ("toy/0", "toy/3")
    np.testing.assert_array_equal(part.route_inputs(0).pooled, whole.route_inputs(7).pooled)
    assert_equal(whole.take(np.arange(10) < 4), table(2, 2))
    write_outcomes(tmp_path, part)
    assert_equal(read_outcomes(tmp_path), part)
    with pytest.raises(RecordError, match="Sample 10 is not in"):
        whole.take([10])
    with pytest.raises(RecordError, match="mask has shape"):
        whole.take([True, False])


def test_take_accepts_an_empty_selection() -> None:
    assert len(table().take(np.zeros(8, bool))) == 0


def test_a_failing_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("old")

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError(28, os.strerror(28))

    with pytest.raises(OSError, match="space"):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_one_long_answer_does_not_make_all_of_them_long(tmp_path: Path) -> None:
    t = table(50, 2)
    t.answers[3, 1] = "wörter " * 20_000
    tracemalloc.start()
    write_outcomes(tmp_path, t)
    back = read_outcomes(tmp_path)
    chosen = concat([back.take(np.arange(50)), back.take(np.arange(50, 100))])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert chosen.answers[3, 1] == "wörter " * 20_000
    assert chosen.answers[99, 2] == t.answers[99, 2]
    assert peak < 20 * 2**20  # padded to the longest, an array of these answers would have 168 MB
