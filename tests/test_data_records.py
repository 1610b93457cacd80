from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.builder import TableBuilder
from data.files import sha256, write_atomically
from data.records import Outcome, OutcomeTable, RecordError, concat, read_outcomes, write_outcomes
from m3_backbone.scales import Ladder
from tests.labelling import MANIFEST, route_inputs, samples, table


def assert_equal(a: OutcomeTable, b: OutcomeTable, *, ignore: tuple[str, ...] = ("manifest",)) -> None:
    for field in fields(OutcomeTable):
        if field.name in ignore:
            continue
        x, y = getattr(a, field.name), getattr(b, field.name)
        if isinstance(x, np.ndarray):
            np.testing.assert_array_equal(x, y, err_msg=field.name)
            assert x.dtype.kind == y.dtype.kind, field.name
            if x.dtype.kind != "U":
                assert x.dtype == y.dtype, field.name
        elif field.name == "question_tokens":
            assert [t.tolist() for t in x] == [t.tolist() for t in y]
        elif field.name == "difficulty":
            assert x.keys() == y.keys()
            for key in x:
                np.testing.assert_array_equal(x[key], y[key])
        else:
            assert x == y, field.name


def test_a_table_comes_back_from_disk_as_it_was(tmp_path: Path) -> None:
    made = table(6, 3)
    write_outcomes(tmp_path / "t", made)
    back = read_outcomes(tmp_path / "t")
    assert_equal(made, back)
    assert back.manifest["prompt"] == "plain"
    assert back.manifest["counts"] == {"samples": 18, "images": 6, "questions": 15, "outcomes": 54}
    assert back.backbone_fingerprint == "fake-1"
    assert back.split == "dev"


def test_writing_the_same_table_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    write_outcomes(tmp_path / "a", table())
    write_outcomes(tmp_path / "b", table())
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_a_table_is_replaced_whole_and_leaves_no_temporary_files(tmp_path: Path) -> None:
    write_outcomes(tmp_path, table(3))
    write_outcomes(tmp_path, table(5))
    assert len(read_outcomes(tmp_path)) == 10
    assert not [p for p in tmp_path.iterdir() if p.name.endswith(".tmp")]


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


def test_concat_of_the_parts_is_the_whole() -> None:
    assert_equal(concat([table(3, 2), table(2, 2, first=3)]), table(5, 2))
    alone = table()
    assert concat([alone]) is alone


def test_concat_merges_images_that_two_tables_share() -> None:
    whole = table(3, 2)
    odd, even = whole.take(np.arange(6) % 2 == 1), whole.take(np.arange(6) % 2 == 0)
    joined = concat([even, odd])
    assert joined.image_ids == whole.image_ids
    assert joined.image_index.tolist() == [0, 1, 2, 0, 1, 2]
    np.testing.assert_array_equal(joined.route_inputs(4).pooled, whole.route_inputs(3).pooled)


def test_concat_joins_what_may_differ_and_fills_difficulties_that_one_lacks() -> None:
    a, b = table(2, 1), table(2, 2, first=5, split="tune", seeds={"b": 1})
    joined = concat([a, b])
    assert joined.manifest["split"] == "dev+tune"
    assert joined.manifest["seeds"] == {"b": 1}
    assert np.isnan(joined.difficulty["count"][:2]).all()
    assert joined.difficulty["count"][3] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbone_fingerprint": "other"}, "backbone_fingerprint is 'fake-1' in one and 'other'"),
        ({"prompt": "vicuna_v1"}, "prompt is 'plain'"),
    ],
)
def test_concat_refuses_tables_of_another_run(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordError, match=message):
        concat([table(), table(first=10, **change)])


def test_concat_refuses_other_scales_repeated_samples_and_clashing_images() -> None:
    t = table()
    with pytest.raises(RecordError, match="ladder is"):
        concat([t, replace(table(first=10), manifest={**t.manifest, "ladder": [1, 9]})])
    with pytest.raises(RecordError, match="their scales differ"):
        concat([t, replace(table(first=10), scales=(1, 9, 144))])
    with pytest.raises(RecordError, match="'toy/0/0' comes twice"):
        concat([t, t])
    other = replace(table(first=10), image_ids=t.image_ids)
    with pytest.raises(RecordError, match="'toy/0' names two different images"):
        concat([t, other])
    with pytest.raises(RecordError, match="no table"):
        concat([])


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
    with pytest.raises(RecordError, match=r"not an outcome table.*m3-train label"):
        read_outcomes(tmp_path)


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
    ],
)
def test_a_wrong_manifest_is_refused(tmp_path: Path, change: Callable[[Any], Any], message: str) -> None:
    write_outcomes(tmp_path, table())
    edit(tmp_path, change)
    with pytest.raises(RecordError, match=message):
        read_outcomes(tmp_path)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[1]"])
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


def outcome(scale: int) -> Outcome:
    return Outcome("s", scale, "yes", 1.0, scale, 3, 1, -0.5, -0.5, 0.5, 1)


def test_the_builder_refuses_what_does_not_fit_together() -> None:
    sample = samples(1, 1)[0]
    inputs = route_inputs("a", "q")
    builder = TableBuilder(MANIFEST)
    with pytest.raises(RecordError, match="no sample"):
        builder.build()
    with pytest.raises(RecordError, match=r"outcomes at the scales \[1, 9\]; the ladder is \[1, 9, 36\]"):
        builder.add(sample, inputs, [outcome(9), outcome(1)])
    builder.add(sample, inputs, [outcome(36), outcome(9), outcome(1)])
    assert len(builder) == 1
    with pytest.raises(RecordError, match="its ladder differs"):
        builder.add(sample, route_inputs("a", "q", Ladder((1, 9))), [outcome(1), outcome(9)])
    with pytest.raises(RecordError, match="not the one that image id 'toy/0' had"):
        builder.add(sample, route_inputs("b", "q"), [outcome(s) for s in (1, 9, 36)])
