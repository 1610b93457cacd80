"""Labelling some scales of the ladder, merging them, and stopping after a shard."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from data.joining import concat
from data.records import RecordError, read_outcomes, write_outcomes
from m3_backbone.scales import Ladder, ScaleError
from tests.labelling import LADDER, SETTINGS, FakeBackbone, content, samples
from training.label import Stopped, label
from training.parts import Part, merge
from training.shards import LabelError
from training.some_scales import KEY, narrowed, parse_scales, some_of


def labelled(out: Path, *scales: int, n: int = 6, part: Part | None = None, **backbone: str) -> Path:
    settings = replace(SETTINGS, scales=scales or None, part=part)
    label(FakeBackbone(**backbone), samples(n, 2, broken=[1]), out, settings)  # type: ignore[arg-type]
    return out


def test_a_table_of_some_scales_has_those_alone_and_names_the_ladder(tmp_path: Path) -> None:
    table = read_outcomes(labelled(tmp_path, 36, 1))
    assert table.scales == (1, 36)
    assert table.scores.shape == (10, 2)
    assert table.manifest[KEY] == [1, 9, 36]
    assert table.manifest["ladder"] == [1, 36]
    inputs = table.route_inputs(0)
    assert (inputs.ladder, inputs.visual_tokens) == (Ladder((1, 36)), (1, 36))


def test_all_scales_by_name_are_the_table_without_a_choice(tmp_path: Path) -> None:
    assert content(labelled(tmp_path / "a", 1, 9, 36)) == content(labelled(tmp_path / "b"))


def test_merged_scales_are_the_table_of_one_run_to_the_byte(tmp_path: Path) -> None:
    some = [labelled(tmp_path / "a", 9), labelled(tmp_path / "b", 1, 36)]
    merge(some, tmp_path / "merged")
    assert content(tmp_path / "merged") == content(labelled(tmp_path / "whole"))


def test_scales_that_are_still_missing_may_be_merged_later(tmp_path: Path) -> None:
    first = labelled(tmp_path / "1", 1)
    both = merge([first, labelled(tmp_path / "9", 9)], tmp_path / "both")
    assert both.manifest[KEY] == list(LADDER)
    merge([tmp_path / "both", labelled(tmp_path / "36", 36)], tmp_path / "all")
    assert content(tmp_path / "all") == content(labelled(tmp_path / "whole"))


def test_parts_of_some_scales_merge_as_parts_first(tmp_path: Path) -> None:
    for name, scales in (("a", (1, 9)), ("b", (36,))):
        parts = [labelled(tmp_path / f"{name}{i}", *scales, part=Part(i, 2)) for i in (1, 2)]
        merge(parts, tmp_path / name)
    merge([tmp_path / "a", tmp_path / "b"], tmp_path / "merged")
    assert content(tmp_path / "merged") == content(labelled(tmp_path / "whole"))


def test_other_scales_are_refused_in_the_same_folder_and_never_mixed(tmp_path: Path) -> None:
    some = labelled(tmp_path / "a", 1, 9)
    with pytest.raises(LabelError, match=r"another run: ladder was \[1, 9\] and is now \[9, 36\]"):
        labelled(tmp_path / "a", 9, 36)
    with pytest.raises(RecordError, match="cannot be mixed: ladder is"):
        concat([read_outcomes(some), read_outcomes(labelled(tmp_path / "whole"))])


def test_scales_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    first = labelled(tmp_path / "a", 1, 9)
    with pytest.raises(RecordError, match=r"/b and .*/a both have scale 9"):
        merge([first, labelled(tmp_path / "b", 9, 36)], tmp_path / "out")
    with pytest.raises(RecordError, match="labelled differently: backbone_fingerprint is 'other'"):
        merge([first, labelled(tmp_path / "c", 36, fingerprint="other")], tmp_path / "out")
    with pytest.raises(RecordError, match=r"other samples: 'toy/6/0'.*same --limit"):
        merge([first, labelled(tmp_path / "d", 36, n=7)], tmp_path / "out")
    with pytest.raises(RecordError, match=r"/a has some scales of the ladder, .*whole is not such a table"):
        merge([first, labelled(tmp_path / "whole")], tmp_path / "out")
    table = read_outcomes(labelled(tmp_path / "e", 36))
    write_outcomes(tmp_path / "e", replace(table, questions=("other", *table.questions[1:])))
    with pytest.raises(RecordError, match="their questions differ"):
        merge([first, tmp_path / "e"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_scales_are_numbers_with_commas_that_the_ladder_has() -> None:
    assert parse_scales(" 36, 9,576") == (9, 36, 576)
    for text, message in (("", "not numbers"), ("9;36", "not numbers"), ("9,,36", "not"), ("9,9", "twice")):
        with pytest.raises(LabelError, match=message):
            parse_scales(text)
    with pytest.raises(ScaleError, match=r"Scale 37 is not on the ladder\. Valid scales: 1, 9, 36"):
        some_of(LADDER, (9, 37))
    assert some_of(LADDER, None) is LADDER


def test_route_inputs_of_the_whole_ladder_are_left_as_they_are() -> None:
    backbone = FakeBackbone()
    image = backbone.encode_image(samples(1)[0].open_image())
    inputs = backbone.summarise(image, "q")
    assert narrowed(inputs, LADDER) is inputs


def test_a_run_that_is_asked_to_stop_finishes_its_shard_and_is_continued(tmp_path: Path) -> None:
    with pytest.raises(Stopped, match="8 of 20 samples are labelled"):
        label(FakeBackbone(), samples(10), tmp_path / "a", SETTINGS, stop=lambda: True)
    assert len(list((tmp_path / "a" / "shards").iterdir())) == 1
    again = FakeBackbone()
    label(again, samples(10), tmp_path / "a", SETTINGS)
    assert len(again.encoded) == 6
    label(FakeBackbone(), samples(10), tmp_path / "b", SETTINGS)
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_a_run_that_is_asked_to_stop_in_its_last_shard_is_done(tmp_path: Path) -> None:
    assert len(label(FakeBackbone(), samples(4), tmp_path, SETTINGS, stop=lambda: True)) == 8
