"""The cache of finer pooled tokens beside a table: what is kept, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data import grids
from data.joining import concat
from data.records import OutcomeTable, RecordError, read_outcomes, write_outcomes
from tests.labelling import table


def test_a_table_comes_back_with_its_finer_tokens_and_without_their_cache_it_is_the_same_but_for_them(
    tmp_path: Path,
) -> None:
    made = table(5)
    write_outcomes(tmp_path, made)
    back = read_outcomes(tmp_path)
    assert back.fine.shape == (5, 36, 4)
    np.testing.assert_array_equal(back.fine, made.fine)
    np.testing.assert_array_equal(back.route_inputs(7).fine, made.fine[made.image_index[7]])
    for path in (tmp_path / grids.GRIDS).iterdir():
        path.unlink()
    (tmp_path / grids.GRIDS).rmdir()
    without = read_outcomes(tmp_path)
    assert without.fine.shape == (5, 0, 4)
    np.testing.assert_array_equal(without.pooled, made.pooled)


def test_rows_follow_their_images(tmp_path: Path) -> None:
    made = table(6)
    write_outcomes(tmp_path, made.take([10, 2, 3]))
    back = read_outcomes(tmp_path)
    for i, row in enumerate((10, 2, 3)):
        np.testing.assert_array_equal(back.route_inputs(i).fine, made.route_inputs(row).fine)


def test_joined_tables_have_them_when_all_have(tmp_path: Path) -> None:
    one, other = table(3), table(2, first=3)
    assert concat([one, other]).fine.shape == (5, 36, 4)
    np.testing.assert_array_equal(concat([one, other]).fine[3:], other.fine)
    bare = replace(other, fine=other.fine[:, :0])
    assert concat([one, bare]).fine.shape == (5, 0, 4)


def test_a_cache_of_some_images_is_as_none(tmp_path: Path) -> None:
    made = table(4)
    write_outcomes(tmp_path, made)
    grids.write_part(tmp_path / grids.GRIDS, 0, made.image_ids[:3], made.fine[:3])
    assert read_outcomes(tmp_path).fine.shape == (4, 0, 4)


def test_a_table_written_over_another_takes_its_cache_away(tmp_path: Path) -> None:
    made = table(4)
    write_outcomes(tmp_path, made)
    write_outcomes(tmp_path, replace(made, fine=made.fine[:, :0]))
    assert not (tmp_path / grids.GRIDS).exists()


def _foreign(folder: Path, made: OutcomeTable) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "backbone_fingerprint": "other"}))


def _swapped(folder: Path, made: OutcomeTable) -> None:
    grids.write_part(folder, 0, made.image_ids, made.fine[::-1])


def _torn(folder: Path, made: OutcomeTable) -> None:
    path = folder / "part-00000.npz"
    path.write_bytes(path.read_bytes()[:200])


def _of_other_shapes(folder: Path, made: OutcomeTable) -> None:
    grids.write_part(folder, 1, ["more"], made.fine[:1, :9])


def _no_square(folder: Path, made: OutcomeTable) -> None:
    grids.write_part(folder, 0, made.image_ids, made.fine[:, :20])


def _no_object(folder: Path, made: OutcomeTable) -> None:
    (folder / "manifest.json").write_text("[1]")


def _no_json(folder: Path, made: OutcomeTable) -> None:
    (folder / "manifest.json").write_text("{")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_foreign, "backbone_fingerprint is 'other', the table's is 'fake-1'"),
        (_swapped, "images are other pictures than the table's"),
        (_torn, "part-00000.npz cannot be read"),
        (_of_other_shapes, r"grids are \(9, 4\), those before \(36, 4\)"),
        (_no_square, "tokens are"),
        (_no_object, "format is"),
        (_no_json, "manifest.json cannot be read"),
    ],
)
def test_what_is_not_of_the_table_is_refused_with_the_remedy(
    tmp_path: Path, damage: Callable[[Path, OutcomeTable], None], said: str
) -> None:
    made = table(4)
    write_outcomes(tmp_path, made)
    damage(tmp_path / grids.GRIDS, made)
    with pytest.raises(RecordError, match=rf"{said}.*Remove .*grids; `m3-train grids` makes it again"):
        read_outcomes(tmp_path)
