"""The folder of a labelling run: interrupted, damaged, foreign, killed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from data.records import read_outcomes
from m3_backbone.scales import Ladder
from m3_backbone.types import Generation, GenerationRequest
from tests.labelling import SETTINGS, FakeBackbone, content, samples
from training.label import LabelError, Settings, Tally, label
from training.shards import Shards, by_image, plan

ROOT = Path(__file__).parent.parent


@dataclass
class Dying(FakeBackbone):
    """Fails in its n-th batch."""

    batches: int = 3

    def generate(self, requests: Sequence[GenerationRequest]) -> list[Generation]:
        self.batches -= 1
        if self.batches < 0:
            raise RuntimeError("lost the device")
        return super().generate(requests)


def test_an_interrupted_run_continues_with_the_shard_in_flight(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="lost the device"):
        label(Dying(), samples(10), tmp_path / "a", SETTINGS)
    backbone = FakeBackbone()
    tallies: list[Tally] = []
    label(backbone, samples(10), tmp_path / "a", SETTINGS, tallies.append)
    assert len(backbone.encoded) == 6  # the first shard of four images was there
    assert (tallies[0].resumed, tallies[0].done, tallies[0].total) == (8, 8, 20)
    assert tallies[-1].done == 20
    label(FakeBackbone(), samples(10), tmp_path / "b", SETTINGS)
    assert content(tmp_path / "a") == content(tmp_path / "b")
    np.testing.assert_allclose(tallies[-1].accuracy, read_outcomes(tmp_path / "a").scores.mean(axis=0))


def test_a_finished_run_encodes_nothing_again(tmp_path: Path) -> None:
    label(FakeBackbone(), samples(5), tmp_path, SETTINGS)
    before = content(tmp_path)
    backbone = FakeBackbone()
    label(backbone, samples(5), tmp_path, SETTINGS)
    assert backbone.encoded == []
    assert content(tmp_path) == before


@pytest.mark.parametrize("name", ["outcomes.parquet", "manifest.json", "unreadable.json", "images.parquet"])
@pytest.mark.parametrize("damage", ["torn", "gone", "empty"])
def test_a_torn_shard_is_made_again(tmp_path: Path, name: str, damage: str) -> None:
    label(FakeBackbone(), samples(10), tmp_path, SETTINGS)
    before = content(tmp_path)
    path = tmp_path / "shards" / "00001" / name
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: -9 if damage == "torn" else 0])
        if path.name == "unreadable.json" and damage == "torn":
            path.write_bytes(b"{")
    (path.parent / ".outcomes.parquet.1.tmp").write_bytes(b"half")
    backbone = FakeBackbone()
    label(backbone, samples(10), tmp_path, SETTINGS)
    assert len(backbone.encoded) == 4
    assert content(tmp_path) == before
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize(
    ("backbone", "settings", "metric", "message"),
    [
        (FakeBackbone(fingerprint="other"), SETTINGS, "exact_match", "backbone_fingerprint was 'fake-1'"),
        (FakeBackbone(ladder=Ladder((1, 9))), SETTINGS, "exact_match", r"ladder was \[1, 9, 36\]"),
        (FakeBackbone(), replace(SETTINGS, prompt="vicuna_v1"), "exact_match", "prompt was 'plain'"),
        (FakeBackbone(), replace(SETTINGS, dtype="bfloat16"), "exact_match", "dtype was 'float32'"),
        (FakeBackbone(), replace(SETTINGS, max_new_tokens=4), "exact_match", "max_new_tokens was 16"),
        (FakeBackbone(), SETTINGS, "answer_match", "metric was 'exact_match' and is now 'answer_match'"),
    ],
)
def test_labels_of_another_run_are_refused(
    tmp_path: Path, backbone: FakeBackbone, settings: Settings, metric: str, message: str
) -> None:
    label(FakeBackbone(), samples(5), tmp_path, SETTINGS)
    before = content(tmp_path)
    with pytest.raises(LabelError, match=message):
        label(backbone, samples(5, metric=metric), tmp_path, settings)
    assert content(tmp_path) == before


def test_a_data_set_that_changed_is_refused(tmp_path: Path) -> None:
    label(FakeBackbone(), samples(5), tmp_path, SETTINGS)
    changed = samples(5)
    changed[2] = replace(changed[2], answers=("no",))
    with pytest.raises(LabelError, match=r"data set has changed .* sample 'toy/1/0'"):
        label(FakeBackbone(), changed, tmp_path, SETTINGS)
    with pytest.raises(LabelError, match="data set has changed"):
        label(FakeBackbone(), samples(9)[8:], tmp_path, SETTINGS)


def test_a_folder_that_no_run_began_is_refused(tmp_path: Path) -> None:
    label(FakeBackbone(), samples(2), tmp_path, SETTINGS)
    (tmp_path / "run.json").unlink()
    with pytest.raises(LabelError, match=r"no run\.json"):
        label(FakeBackbone(), samples(2), tmp_path, SETTINGS)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "\udcff"])
def test_a_damaged_run_description_is_refused_with_a_remedy(tmp_path: Path, content: str) -> None:
    label(FakeBackbone(), samples(2), tmp_path, SETTINGS)
    (tmp_path / "run.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(LabelError, match=r"run\.json is damaged.*Choose another --out"):
        label(FakeBackbone(), samples(2), tmp_path, SETTINGS)


@pytest.mark.parametrize("content", ["null", "[]", "7", "\udcff"])
def test_a_list_of_unreadable_images_that_is_none_makes_the_shard_again(tmp_path: Path, content: str) -> None:
    label(FakeBackbone(), samples(5), tmp_path, SETTINGS)
    before = (tmp_path / "outcomes.parquet").read_bytes()
    unreadable = tmp_path / "shards" / "00000" / "unreadable.json"
    unreadable.write_bytes(content.encode("utf-8", "surrogateescape"))
    backbone = FakeBackbone()
    label(backbone, samples(5), tmp_path, SETTINGS)
    assert len(backbone.encoded) == 4
    assert (tmp_path / "outcomes.parquet").read_bytes() == before


def test_a_shard_copied_from_another_run_is_refused(tmp_path: Path) -> None:
    label(FakeBackbone(), samples(5), tmp_path / "mine", SETTINGS)
    label(FakeBackbone(fingerprint="other"), samples(5), tmp_path / "theirs", SETTINGS)
    for part in ("00000", "00001"):
        shutil.rmtree(tmp_path / "mine" / "shards" / part)
        shutil.copytree(tmp_path / "theirs" / "shards" / part, tmp_path / "mine" / "shards" / part)
    with pytest.raises(LabelError, match=r"00000 is of another run: its backbone_fingerprint is 'other'"):
        label(FakeBackbone(), samples(5), tmp_path / "mine", SETTINGS)


def test_what_a_kill_left_half_written_is_cleared_away(tmp_path: Path) -> None:
    label(FakeBackbone(), samples(2), tmp_path, SETTINGS)
    (tmp_path / ".outcomes.parquet.1.tmp").write_bytes(b"half")
    label(FakeBackbone(), samples(2), tmp_path, SETTINGS)
    assert not list(tmp_path.rglob("*.tmp"))


def test_the_limit_may_be_raised_and_lowered(tmp_path: Path) -> None:
    everything = samples(10, 3)
    label(FakeBackbone(), everything[:14], tmp_path / "a", SETTINGS)
    backbone = FakeBackbone()
    label(backbone, everything, tmp_path / "a", SETTINGS)
    assert len(backbone.encoded) == 6
    label(FakeBackbone(), everything, tmp_path / "b", SETTINGS)
    assert content(tmp_path / "a") == content(tmp_path / "b")
    again = FakeBackbone()
    assert len(label(again, everything[:14], tmp_path / "a", SETTINGS)) == 14
    assert again.encoded == []


def test_two_processes_do_not_label_into_one_folder(tmp_path: Path) -> None:
    with Shards(tmp_path, {}, []), pytest.raises(LabelError, match="Another process is labelling"):
        label(FakeBackbone(), samples(2), tmp_path, SETTINGS)


def test_a_join_needs_every_shard(tmp_path: Path) -> None:
    with (
        Shards(tmp_path, {}, plan(by_image(samples(2)), 1)) as store,
        pytest.raises(LabelError, match="not finished"),
    ):
        store.join()


class Death(BaseException):
    """What happens to a process that is killed: nothing after it is done."""


class Disk:
    """Every change of the disk is counted; from the ``last`` one on nothing changes any more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, last: float) -> None:
        self.done, self.last = 0, last
        for owner, name in (
            *((Path, n) for n in ("replace", "mkdir", "unlink", "write_bytes")),
            *((os, "fsync"), (shutil, "rmtree"), (pq, "write_table")),
        ):
            # fsync waits for the real disk, which these hundred runs need not.
            change = (lambda descriptor: None) if name == "fsync" else getattr(owner, name)
            monkeypatch.setattr(owner, name, self.counted(change, name))

    def counted(self, change: Any, name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            if self.done >= self.last:
                if self.done == self.last and name == "write_bytes":  # torn: half of it is there
                    with arguments[0].open("wb") as file:
                        file.write(arguments[1][: len(arguments[1]) // 2])
                self.done += 1
                raise Death
            self.done += 1
            return change(*arguments, **options)

        return call


@pytest.mark.parametrize("first", range(4))
def test_death_before_any_change_of_the_disk_loses_and_repeats_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    """Every fourth change from ``first`` on: all of them, in four tests."""
    settings = replace(SETTINGS, shard_images=1)
    everything = samples(3, 1, broken=[1])
    with monkeypatch.context() as patch:
        disk = Disk(patch, np.inf)
        label(FakeBackbone(), everything, tmp_path / "whole", settings)
    whole, changes = content(tmp_path / "whole"), disk.done
    assert changes > 50
    for last in range(first, changes, 4):
        out = tmp_path / f"killed-{last}"
        with monkeypatch.context() as patch:
            Disk(patch, last)
            with pytest.raises(Death):
                label(FakeBackbone(), everything, out, settings)
        label(FakeBackbone(), everything, out, settings)
        assert content(out) == whole, last
        assert not list(out.rglob("*.tmp")), last
