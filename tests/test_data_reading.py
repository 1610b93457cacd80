"""Damaged and foreign tables: what is refused when reading, and when writing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import data
from data.files import sha256
from data.records import RecordError, read_outcomes, write_outcomes
from tests.labelling import table


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def rewrite(folder: Path, name: str, change: Callable[[pa.Table], pa.Table]) -> None:
    """Change a Parquet file and make the manifest's hash fit."""
    pq.write_table(change(pq.read_table(folder / name)), folder / name)
    edit(folder, lambda m: m["files"].update({name: sha256(folder / name)}))


def test_a_folder_without_a_manifest_is_not_a_table(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"it has no manifest.*label`; an interrupted one continues"):
        read_outcomes(tmp_path)
    with pytest.raises(RecordError, match=r"there is no such folder\. Make one with `m3-train label`\.$"):
        read_outcomes(tmp_path / "tune")


def test_a_missing_table_of_m3_tiny_names_the_target_that_makes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    home = Path(data.__file__).parent
    with pytest.raises(RecordError, match=r"`m3-train label` \(this one: `make table-backbone-val`\)\.$"):
        read_outcomes(home / "outcomes" / "tiny" / "backbone-val")
    monkeypatch.chdir(home)
    with pytest.raises(RecordError, match="`make table-backbone-val`"):
        read_outcomes(Path("outcomes/tiny/backbone-val"))
    with pytest.raises(RecordError, match=r"`m3-train label`\.$"):  # no target makes a split that is none
        read_outcomes(Path("outcomes/tiny/tset"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(schema_version=9), "schema version 9; this program reads 1"),
        (lambda m: m.pop("prompt"), "manifest key 'prompt' is None, not a text"),
        (lambda m: m.update(ladder="1, 9"), "manifest key 'ladder' is '1, 9', not a list"),
        (lambda m: m.update(shapes={}), "shape None of pooled"),
        (lambda m: m.update(shapes={"pooled": [7, 7]}), r"shape \[7, 7\] of pooled"),
        (lambda m: m.update(ladder=[1, 9]), "has 24 rows; 8 samples at 2 scales make 16"),
        (lambda m: m.update(grid_stat_names=["one"]), "grid_stats has shape"),
        (lambda m: m.update(grid_stat_names=[1, 2]), "'grid_stat_names' holds 1, not a text"),
        (lambda m: m.update(ladder=["1", 9, 36]), "'ladder' holds '1', not an integer"),
        (lambda m: m.update(ladder=[1, 9.5, 36]), r"'ladder' holds 9\.5, not an integer"),
        (lambda m: m.update(ladder=[True, 9, 36]), "'ladder' holds True, not an integer"),
        (lambda m: m.update(ladder=[]), "no scales"),
        (lambda m: m.update(shapes={"pooled": [-10, -4]}), r"shape \[-10, -4\] of pooled"),
        (lambda m: m.update(shapes={"pooled": ["10", 4]}), r"shape \['10', 4\] of pooled"),
    ],
)
def test_a_wrong_manifest_is_refused(tmp_path: Path, change: Callable[[Any], Any], message: str) -> None:
    write_outcomes(tmp_path, table())
    edit(tmp_path, change)
    with pytest.raises(RecordError, match=message):
        read_outcomes(tmp_path)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[1]", b"", b"[" * 100_000])
def test_a_manifest_that_is_not_an_object_is_refused(tmp_path: Path, content: bytes) -> None:
    write_outcomes(tmp_path, table())
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(RecordError, match=r"manifest\.json"):
        read_outcomes(tmp_path)


def test_damaged_and_missing_files_are_named(tmp_path: Path) -> None:
    write_outcomes(tmp_path, table())
    path = tmp_path / "outcomes.parquet"
    content = path.read_bytes()
    path.write_bytes(content[:-20])
    with pytest.raises(RecordError, match=r"outcomes\.parquet is not the file"):
        read_outcomes(tmp_path)
    with pytest.raises(RecordError, match=r"outcomes\.parquet cannot be read as Parquet"):
        read_outcomes(tmp_path, verify=False)
    path.unlink()
    for verify in (True, False):
        with pytest.raises(RecordError, match=r"outcomes\.parquet is missing"):
            read_outcomes(tmp_path, verify=verify)


def retype(name: str, kind: Any) -> Callable[[pa.Table], pa.Table]:
    """The same number of rows, of another kind."""

    def change(t: pa.Table) -> pa.Table:
        empty: Any = [] if pa.types.is_list(kind) else "7" if kind == pa.string() else 7
        return t.set_column(t.column_names.index(name), name, pa.array([empty] * t.num_rows, kind))

    return change


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("outcomes", retype("score", pa.string()), "score is a column of type string, not of numbers"),
        ("outcomes", retype("answer", pa.int64()), "answer is a column of type int64, not of texts"),
        ("outcomes", retype("flops", pa.float64()), "flops is a column of type double, not of whole numbers"),
        (
            "images",
            retype("pooled", pa.list_(pa.float32())),
            "pooled is .* list<.*, not of vectors",
        ),
        (
            "images",
            retype("grid_stats", pa.float32()),
            "grid_stats is .* float, not of vectors",
        ),
        ("questions", retype("tokens", pa.list_(pa.string())), "tokens is .* not of list of whole numbers"),
        (
            "samples",
            retype("references", pa.string()),
            "references is .* string, not of list of texts",
        ),
        ("samples", retype("sample_id", pa.int32()), "sample_id is a column of type int32, not of texts"),
        ("samples", retype("difficulty.size", pa.string()), "difficulty.size is a column of type string"),
        ("samples", lambda t: put(t, "references", [["a", None]] * 8), "references has an empty entry"),
        ("questions", lambda t: put(t, "tokens", [[1, None]] * 8), "tokens has an empty entry"),
        ("samples", lambda t: t.append_column("kind", t["kind"]), "Multiple matches"),
    ],
)
@pytest.mark.parametrize("rehashed", [True, False])
def test_columns_of_another_kind_are_named(
    tmp_path: Path, file: str, change: Callable[[Any], Any], message: str, rehashed: bool
) -> None:
    write_outcomes(tmp_path, table())
    rewrite(tmp_path, f"{file}.parquet", change)
    with pytest.raises(RecordError, match=rf"{file}\.parquet.*{message}"):
        read_outcomes(tmp_path, verify=rehashed)


def put(t: pa.Table, name: str, values: list[Any]) -> pa.Table:
    return t.set_column(t.column_names.index(name), name, pa.array(values, t[name].type))


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("outcomes", lambda t: t.drop_columns(["flops"]), "has no column 'flops'; its columns are sample,"),
        ("outcomes", lambda t: put(t, "score", [None, *[0] * 23]), "row 0: score is empty"),
        (
            "outcomes",
            lambda t: put(t, "score", [0, float("nan"), *[0] * 22]),
            "'toy/0/0' at scale 9: score nan",
        ),
        ("outcomes", lambda t: put(t, "score", [1.5, *[0] * 23]), r"score 1\.5 is not in \[0, 1\]"),
        ("outcomes", lambda t: put(t, "scale", [9, 1, 36] * 8), "row 0: sample 0 at scale 9, where sample 0"),
        ("outcomes", lambda t: t.slice(0, 23), "has 23 rows; 8 samples at 3 scales make 24"),
        ("outcomes", lambda t: put(t, "flops", [-1] * 24), "flops is negative"),
        ("samples", lambda t: put(t, "image", [9] * 8), "row 0: image 9 is none of the 4 images"),
        ("samples", lambda t: put(t, "sample_id", ["a"] * 8), "row 1: sample id 'a' comes twice"),
    ],
)
def test_wrong_rows_are_named(tmp_path: Path, file: str, change: Callable[[Any], Any], message: str) -> None:
    write_outcomes(tmp_path, table())
    rewrite(tmp_path, f"{file}.parquet", change)
    with pytest.raises(RecordError, match=message):
        read_outcomes(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: {"scores": np.full((8, 3), np.nan)}, "score nan"),
        (lambda t: {"scores": t.scores[:, :2]}, r"scores has shape \(8, 2\)"),
        (lambda t: {"mean_logprob": np.full((8, 3), -np.inf, np.float32)}, "mean_logprob is not finite"),
        (lambda t: {"full_logprob": np.full((8, 3), -np.inf, np.float32)}, "full_logprob is not finite"),
        (lambda t: {"full_logprob": np.full((8, 2), -1.0, np.float32)}, "full_logprob has shape"),
        (
            lambda t: {"min_logprob": np.full((8, 3), -1e5, np.float32)},
            "min_logprob is not finite in",
        ),
        (lambda t: {"text_tokens": t.text_tokens - 100}, "text_tokens is negative"),
        (lambda t: {"question": t.question + np.float32(1e-4)}, "question holds a value"),
        (lambda t: {"pooled": t.pooled * np.float32(1e6)}, "image 'toy/0': pooled holds"),
        (lambda t: {"question": t.question[:, :, None]}, r"question must be \[n, E\]"),
        (lambda t: {"questions": t.questions[:3]}, "questions has 3 rows for 8 samples"),
        (lambda t: {"image_index": t.image_index + 1}, "image_index points outside the 4 images"),
        (lambda t: {"scales": (9, 1, 36)}, "not strictly increasing"),
        (lambda t: {"scales": ()}, "no scales"),
        (lambda t: {"manifest": {}}, "manifest key 'backbone_fingerprint' is None"),
    ],
)
def test_a_wrong_table_is_not_written(tmp_path: Path, change: Callable[[Any], Any], message: str) -> None:
    t = table()
    with pytest.raises(RecordError, match=message):
        write_outcomes(tmp_path / "t", replace(t, **change(t)))
    assert not (tmp_path / "t").exists()


def test_an_empty_table_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no samples"):
        write_outcomes(tmp_path, table().take([]))
