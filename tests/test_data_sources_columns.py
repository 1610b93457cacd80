"""Columns as Hugging Face's library writes them: classes as numbers, pictures alone or in lists.

What the library itself wrote was looked at (`datasets` 5.2); the files here are made in its form.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.sources import SourceError
from tests.sources import lines, picture, png, read

NAMES = ["cat", "dog"]


def written(path: Path, rows: list[dict[str, Any]], features: object) -> Path:
    table = pa.Table.from_pylist(rows)
    said = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(said), path)
    return path


def test_numbers_of_classes_are_read_by_their_names(tmp_path: Path) -> None:
    inside = {"bytes": png(tmp_path, 1), "path": None}
    rows = [{"image": inside, "question": "What?", "answers": n, "group": g} for n, g in ((1, 0), (0, -1))]
    classes = {"_type": "ClassLabel", "names": NAMES}
    features = {"image": {"_type": "Image"}, "answers": classes, "group": classes, "other": [{}]}
    first, second = read(written(tmp_path / "a.parquet", rows, features))
    assert (first.answers, first.family) == (("dog",), "cat")
    assert (second.answers, second.family) == (("cat",), "")  # -1 is no class


@pytest.mark.parametrize("features", [{"answers": {"_type": "Value"}}, {"answers": None}, [], None])
def test_numbers_without_names_stay_numbers(tmp_path: Path, features: object) -> None:
    rows = [{"image": {"bytes": png(tmp_path, 1), "path": None}, "question": "How many?", "answers": 1}]
    (found,) = read(written(tmp_path / "a.parquet", rows, features))
    assert found.answers == ("1",)


def test_a_number_out_of_range_has_no_name(tmp_path: Path) -> None:
    rows = [{"image": {"bytes": png(tmp_path, 1), "path": None}, "question": "What?", "answers": 2}]
    path = written(tmp_path / "a.parquet", rows, {"answers": {"_type": "ClassLabel", "names": NAMES}})
    with pytest.raises(SourceError, match=r"a\.parquet, row 1 has no answers; it has question, image"):
        read(path)


def test_several_pictures_in_a_row_are_refused_with_the_row(tmp_path: Path) -> None:
    inside = {"bytes": png(tmp_path, 1), "path": None}
    rows = [{"image": [inside, inside], "question": "Which?", "answers": "a"}]
    with pytest.raises(SourceError, match=r"a\.parquet, row 1: image is a list; it must be one picture"):
        read(written(tmp_path / "a.parquet", rows, {}))


def test_a_group_called_0_is_a_group(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    row = {"image": "a.png", "question": "What?", "answers": "a"}
    assert [
        s.family for s in read(lines(tmp_path / "m.jsonl", {**row, "group": 0}, {**row, "group": ""}))
    ] == [
        "0",
        "",
    ]
