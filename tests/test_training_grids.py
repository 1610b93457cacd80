"""Making the cache of finer pooled tokens for a table that came without it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import m3_backbone
from data import grids
from data.records import OutcomeTable, RecordError, read_outcomes
from m3_backbone.scales import Ladder
from tests.labelling import SETTINGS, FakeBackbone, samples
from training.cli.grids import command
from training.grids import build
from training.label import label


@pytest.fixture
def labelled(tmp_path: Path) -> tuple[Path, OutcomeTable]:
    """A table without its cache, and the table with it."""
    whole = label(FakeBackbone(), samples(7), tmp_path / "table", SETTINGS)
    assert read_outcomes(tmp_path / "table").fine.shape == (7, 36, 4)
    shutil.rmtree(tmp_path / "table" / grids.GRIDS)
    return tmp_path / "table", whole


def test_it_is_the_cache_that_labelling_leaves(labelled: tuple[Path, OutcomeTable]) -> None:
    folder, whole = labelled
    backbone, told = FakeBackbone(), list[int]()
    made = build(backbone, read_outcomes(folder), folder, samples(7), told=told.append, process=False)
    assert (made.cached, made.encoded, made.faults) == (7, 7, {})
    assert told == [1, 2, 3, 4, 5, 6, 7]
    np.testing.assert_array_equal(read_outcomes(folder).fine, whole.fine)
    again = build(backbone, read_outcomes(folder), folder, samples(7), process=False)
    assert (again.cached, again.encoded) == (7, 0)
    assert len(backbone.encoded) == 7


def test_stopped_it_goes_on_behind_the_last_whole_part(labelled: tuple[Path, OutcomeTable]) -> None:
    folder, whole = labelled

    def stop(encoded: int) -> None:
        if encoded == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(
            FakeBackbone(), read_outcomes(folder), folder, samples(7), told=stop, part_images=2, process=False
        )
    backbone = FakeBackbone()
    made = build(backbone, read_outcomes(folder), folder, samples(7), part_images=2, process=False)
    assert (made.cached, made.encoded) == (7, 3)
    np.testing.assert_array_equal(read_outcomes(folder).fine, whole.fine)


def test_images_that_cannot_be_opened_any_more_are_named_and_asked_again(
    labelled: tuple[Path, OutcomeTable],
) -> None:
    folder, whole = labelled
    made = build(FakeBackbone(), read_outcomes(folder), folder, samples(7, broken=[2]), process=False)
    assert made.cached == 6
    assert made.faults == {"toy/2": "cannot read picture 2"}
    assert read_outcomes(folder).fine.shape[1] == 0
    made = build(FakeBackbone(), read_outcomes(folder), folder, samples(7), process=False)
    assert (made.cached, made.encoded) == (7, 1)
    np.testing.assert_array_equal(read_outcomes(folder).fine, whole.fine)


@pytest.mark.parametrize(
    ("backbone", "asked", "said"),
    [
        (FakeBackbone(fingerprint="other"), 7, "of backbone 'fake-1', not of 'other'"),
        (FakeBackbone(), 5, "2 images of .* are not in the data set .'toy/5' first.: name the one"),
    ],
)
def test_another_backbone_and_another_data_set_are_refused(
    labelled: tuple[Path, OutcomeTable], backbone: FakeBackbone, asked: int, said: str
) -> None:
    folder, _ = labelled
    with pytest.raises(RecordError, match=said):
        build(backbone, read_outcomes(folder), folder, samples(asked), process=False)


def test_other_pictures_under_the_same_ids_are_refused(labelled: tuple[Path, OutcomeTable]) -> None:
    folder, _ = labelled
    turned = [replace(s, open_image=t.open_image) for s, t in zip(samples(7), samples(7)[::-1], strict=True)]
    with pytest.raises(RecordError, match=r"other pictures than the table's.*Remove"):
        build(FakeBackbone(), read_outcomes(folder), folder, turned, process=False)


class _Coarse(FakeBackbone):
    def summarise(self, image: object, question: str) -> m3_backbone.RouteInputs:
        inputs = super().summarise(image, question)  # type: ignore[arg-type]
        return replace(inputs, fine=inputs.fine[:0])


def test_a_ladder_without_finer_tokens_has_no_cache(labelled: tuple[Path, OutcomeTable]) -> None:
    folder, _ = labelled
    with pytest.raises(RecordError, match="has no finer tokens"):
        build(_Coarse(ladder=Ladder((1, 9, 36))), read_outcomes(folder), folder, samples(7), process=False)


def test_the_command_says_what_it_made_and_what_is_wrong(
    labelled: tuple[Path, OutcomeTable], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = labelled
    monkeypatch.setattr(m3_backbone, "load_backbone", lambda *_, **__: FakeBackbone())
    monkeypatch.setattr("data.sources.load", lambda *_: iter(samples(7)))
    app = typer.Typer()
    app.command()(command)
    words = ["--dataset", "toy:dev", "--table", str(folder)]
    for encoded in (7, 0):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
        assert f"7 of 7 images of {folder} have their finer tokens, {encoded} of them encoded" in done.output
    done = CliRunner().invoke(app, ["--dataset", "toy:dev", "--table", str(folder / "nowhere")])
    assert done.exit_code == 2
    assert "there is no such folder" in done.output
