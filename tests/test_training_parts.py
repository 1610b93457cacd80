"""Several machines label one data set: parts, and merging them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from data.records import OutcomeTable, RecordError, read_outcomes, write_outcomes
from data.unreadable import NAME, write_unreadable
from tests.labelling import SETTINGS, FakeBackbone, content, samples, table
from training.cli.merge import command
from training.label import Settings, label
from training.parts import Part, merge
from training.shards import EmptyPart, LabelError


def label_parts(home: Path, n: int, of: int, shard_images: int = 4) -> list[Path]:
    folders = []
    for number in range(1, of + 1):
        settings = replace(SETTINGS, part=Part(number, of), shard_images=shard_images)
        folders.append(home / f"part-{number}")
        whole_label(n, folders[-1], settings)
    return folders


def whole_label(n: int, out: Path, settings: Settings = SETTINGS) -> OutcomeTable | None:
    """What `m3-train label` leaves in ``out``; None where no image could be opened."""
    made: OutcomeTable | EmptyPart
    try:
        made = label(FakeBackbone(), samples(n, 3, broken=[1, 8]), out, settings)
    except EmptyPart as empty:
        made = empty
    faults: Any = made.manifest["unreadable_images"]
    write_unreadable(out, samples(n, 3, broken=[1, 8]), faults)
    return None if isinstance(made, EmptyPart) else made


@pytest.mark.parametrize(("n", "of"), [(11, 3), (10, 2), (12, 5), (6, 1)])
def test_merged_parts_are_the_table_of_one_machine_to_the_byte(tmp_path: Path, n: int, of: int) -> None:
    folders = label_parts(tmp_path, n, of)
    whole = whole_label(n, tmp_path / "whole")
    assert whole is not None
    merged = merge(folders[::-1], tmp_path / "merged")
    assert merged.sample_ids == whole.sample_ids
    assert content(tmp_path / "merged") == content(tmp_path / "whole")
    assert sum(len(read_outcomes(folder)) for folder in folders) == len(whole)


@pytest.mark.parametrize(("n", "of", "empty"), [(9, 9, {2, 9}), (5, 5, {2}), (3, 2, set())])
def test_a_part_of_which_no_image_could_be_opened_is_merged_too(
    tmp_path: Path, n: int, of: int, empty: set[int]
) -> None:
    folders = label_parts(tmp_path, n, of)
    lacking = {number for number, folder in enumerate(folders, 1) if not (folder / "manifest.json").exists()}
    assert lacking == empty
    whole_label(n, tmp_path / "whole")
    merge(folders[::-1], tmp_path / "merged")
    assert content(tmp_path / "merged") == content(tmp_path / "whole")  # unreadable.jsonl among it
    assert not list((tmp_path / "merged").glob("empty*"))
    # Continued, it is as it was; a single part of nothing merges with nothing.
    if empty:
        again = FakeBackbone()
        with pytest.raises(EmptyPart, match="cannot read picture 1"):
            label(again, samples(n, 3, broken=[1, 8]), folders[1], replace(SETTINGS, part=Part(2, of)))
        assert again.encoded == []


def test_parts_of_which_none_has_an_image_that_could_be_opened_are_no_table(tmp_path: Path) -> None:
    folders = []
    for number in (1, 2):
        folders.append(tmp_path / str(number))
        with pytest.raises(EmptyPart):
            label(
                FakeBackbone(),
                samples(2, broken=[0, 1]),
                folders[-1],
                replace(SETTINGS, part=Part(number, 2)),
            )
    with pytest.raises(RecordError, match="No image of any part could be opened"):
        merge(folders, tmp_path / "out")
    with pytest.raises(RecordError, match="Missing parts: 2/2"):
        merge(folders[:1], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_parts_may_be_cut_into_shards_of_their_own_size(tmp_path: Path) -> None:
    (first, _), (_, second) = label_parts(tmp_path / "a", 11, 2, 2), label_parts(tmp_path / "b", 11, 2, 5)
    whole_label(11, tmp_path / "whole")
    merge([first, second], tmp_path / "merged")
    assert content(tmp_path / "merged") == content(tmp_path / "whole")


def test_rows_of_unreadable_images_come_along_each_once(tmp_path: Path) -> None:
    whole_label(11, tmp_path / "whole")
    wanted = (tmp_path / "whole" / NAME).read_bytes()
    assert wanted.count(b"\n") == 6  # two images of three questions
    merge(label_parts(tmp_path, 11, 3)[::-1], tmp_path / "merged")
    assert (tmp_path / "merged" / NAME).read_bytes() == wanted
    first, second = label_parts(tmp_path / "again", 11, 2)
    shutil.copy(tmp_path / "whole" / NAME, second / NAME)  # that has the rows of the first too
    merge([first, second], tmp_path / "twice")
    assert (tmp_path / "twice" / NAME).read_bytes() == wanted


def test_a_row_that_is_none_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    first, second = label_parts(tmp_path, 11, 2)
    for torn in ('{"sample_id": "a"', "[]", '{"sample_id": 1, "image_id": "a"}'):
        (second / NAME).write_text(f'{{"sample_id": "x", "image_id": "y"}}\n{torn}')
        with pytest.raises(RecordError, match=r"part-2.unreadable\.jsonl, row 2 is no row"):
            merge([first, second], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_says_for_how_many_images_rows_are_missing(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(command)
    first, second = label_parts(tmp_path, 11, 2)
    for gone, said in ((None, "has the questions."), (second, "has the questions of 1 of them")):
        if gone is not None:
            (gone / NAME).unlink()
        done = CliRunner().invoke(
            app, [str(first), str(second), "--out", str(tmp_path / "out")], env={"COLUMNS": "200"}
        )
        assert f"2 images could not be opened; {NAME} {said}" in " ".join(done.output.split())


def test_a_part_is_continued_as_that_part_alone(tmp_path: Path) -> None:
    (first, _) = label_parts(tmp_path, 6, 2)
    backbone = FakeBackbone()
    label(backbone, samples(6, 3, broken=[1, 8]), first, replace(SETTINGS, part=Part(1, 2)))
    assert backbone.encoded == []
    for part in (None, Part(2, 2), Part(1, 3)):
        with pytest.raises(LabelError, match="labels of another run: part was"):
            label(backbone, samples(6, 3, broken=[1, 8]), first, replace(SETTINGS, part=part))


def test_what_cannot_be_merged_is_refused(tmp_path: Path) -> None:
    first, second, third = label_parts(tmp_path / "a", 12, 3)
    with pytest.raises(RecordError, match=r"Missing parts: 1/3, 3/3"):
        merge([second], tmp_path / "out")
    with pytest.raises(RecordError, match=r"part-1 and .*part-1 are both part 1 of 3"):
        merge([first, second, first], tmp_path / "out")
    other, _ = label_parts(tmp_path / "b", 12, 2)
    with pytest.raises(RecordError, match="not parts of one table: of is 2 and 3"):
        merge([first, other], tmp_path / "out")
    longer = label_parts(tmp_path / "c", 15, 3)
    with pytest.raises(RecordError, match=r"images is 15 and 12.*same --limit"):
        merge([first, second, longer[2]], tmp_path / "out")
    with pytest.raises(RecordError, match="Missing parts: all"):
        merge([], tmp_path / "out")
    write_outcomes(tmp_path / "alone", table())
    with pytest.raises(RecordError, match=r"alone is not a part of a table.*--shard I/N"):
        merge([tmp_path / "alone"], tmp_path / "out")
    rounded = read_outcomes(third)
    write_outcomes(third, replace(rounded, manifest={**rounded.manifest, "dtype": "bfloat16"}))
    with pytest.raises(RecordError, match="labelled differently: dtype is 'bfloat16' and 'float32'"):
        merge([first, second, third], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["", "2", "0/3", "4/3", "1/0", "-1/3", "1/3/5", "a/b", "１/２"])
def test_a_part_is_written_i_of_n(text: str) -> None:
    with pytest.raises(LabelError, match="Part"):
        Part.parse(text)
    assert Part.parse("2/4") == Part(2, 4)


def test_an_empty_part_is_refused() -> None:
    with pytest.raises(LabelError, match="Part 1/5 would be empty: the data set has 3 images"):
        Part(1, 5).cut([1, 2, 3])


def test_the_command_merges_and_says_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(command)
    folders = [str(folder) for folder in label_parts(tmp_path, 6, 2)]
    done = CliRunner().invoke(app, [*folders, "--out", str(tmp_path / "out")], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert len(read_outcomes(tmp_path / "out")) == 15
    wrong = CliRunner().invoke(app, [folders[0], "--out", str(tmp_path / "other")])
    assert wrong.exit_code == 2
    assert "Missing parts: 2/2" in " ".join(wrong.output.split())
