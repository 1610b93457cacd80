from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.records import Sample, read_outcomes
from data.scoring import ScoringError
from m3_backbone.scales import Ladder
from m3_backbone.types import Generation, GenerationRequest
from tests.labelling import FakeBackbone, Picture, samples
from training.label import LabelError, Settings, Tally, label
from training.prefetch import PrefetchError, open_all
from training.shards import Shards, plan

SETTINGS = Settings(prompt="plain", shard_images=4, batch_images=2, process=False)

ROOT = Path(__file__).parent.parent


def content(out: Path) -> dict[str, bytes]:
    """The final table's files."""
    return {p.name: p.read_bytes() for p in sorted(out.glob("*.*")) if p.name != "run.json"}


def test_every_sample_is_labelled_at_every_scale_and_every_image_encoded_once(tmp_path: Path) -> None:
    backbone = FakeBackbone()
    table = label(backbone, samples(10, 3), tmp_path, SETTINGS)
    assert table.sample_ids == tuple(s.sample_id for s in samples(10, 3))
    assert table.scores.shape == (30, 3)
    assert len(backbone.encoded) == len(set(backbone.encoded)) == 10
    back = read_outcomes(tmp_path)
    np.testing.assert_array_equal(back.scores, table.scores)
    assert 0 < back.scores[:, 0].mean() < back.scores[:, 2].mean() == 1.0
    assert back.manifest["prompt"] == "plain"
    assert back.manifest["metric"] == "exact_match"
    assert back.manifest["backbone_fingerprint"] == "fake-1"
    assert back.difficulty.keys() == {"size", "count"}


def test_the_rows_hold_what_the_model_said(tmp_path: Path) -> None:
    backbone = FakeBackbone()
    table = label(backbone, samples(3), tmp_path, SETTINGS)
    sample = samples(3)[3]
    image = backbone.encode_image(sample.open_image())
    (answer,) = backbone.generate([GenerationRequest((sample.question,), ((image, 9),))])
    assert table.answers[3, 1] == answer.text
    assert table.answer_tokens[3, 1] == len(answer.token_ids)
    assert table.mean_logprob[3, 1] == pytest.approx(answer.mean_logprob, rel=1e-3)
    assert table.text_tokens[3] == 4
    assert table.flops[3, 1] == 10**9 + (9 + 4 + len(answer.token_ids)) * 10**6


def test_samples_of_one_image_are_grouped_wherever_they_stand(tmp_path: Path) -> None:
    mixed = sorted(samples(6, 2), key=lambda s: s.sample_id.rpartition("/")[2])
    backbone = FakeBackbone()
    table = label(backbone, mixed, tmp_path, SETTINGS)
    assert len(backbone.encoded) == 6
    assert table.sample_ids == tuple(s.sample_id for s in samples(6, 2))


def test_a_second_process_gives_the_same_table(tmp_path: Path) -> None:
    label(FakeBackbone(), samples(9), tmp_path / "a", SETTINGS)
    label(FakeBackbone(), samples(9), tmp_path / "b", replace(SETTINGS, process=True))
    assert content(tmp_path / "a") == content(tmp_path / "b")


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


@pytest.mark.parametrize("process", [False, True])
def test_images_that_cannot_be_opened_are_counted_and_listed(tmp_path: Path, process: bool) -> None:
    tallies: list[Tally] = []
    settings = replace(SETTINGS, process=process)
    table = label(FakeBackbone(), samples(9, broken=[1, 8]), tmp_path, settings, tallies.append)
    assert len(table) == 14
    assert table.manifest["unreadable_images"] == {
        "toy/1": "cannot read picture 1",
        "toy/8": "cannot read picture 8",  # a shard of its own
    }
    assert tallies[-1].unreadable == 2
    again = FakeBackbone()
    label(again, samples(9, broken=[1, 8]), tmp_path, settings, tallies.append)
    assert again.encoded == []
    assert tallies[-1].unreadable == 2


def test_a_data_set_without_a_readable_image_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"No image could be opened.*cannot read picture 0"):
        label(FakeBackbone(), samples(2, broken=[0, 1]), tmp_path, SETTINGS)


def test_wrong_data_sets_and_settings_are_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="no samples"):
        label(FakeBackbone(), [], tmp_path, SETTINGS)
    with pytest.raises(LabelError, match="'toy/0/0' comes twice"):
        label(FakeBackbone(), samples(1) * 2, tmp_path, SETTINGS)
    with pytest.raises(ScoringError, match="Metric 'guess' is not known"):
        label(FakeBackbone(), samples(1, metric="guess"), tmp_path, SETTINGS)
    with pytest.raises(LabelError, match="at least 1 image, got 0"):
        plan(samples(1), 0)
    assert list(tmp_path.iterdir()) == []


def test_a_join_needs_every_shard(tmp_path: Path) -> None:
    with Shards(tmp_path, {}, plan(samples(2), 1)) as store, pytest.raises(LabelError, match="not finished"):
        store.join()


def test_sources_that_cannot_be_pickled_are_opened_here() -> None:
    picture = Picture(3)
    (opened,) = open_all([lambda: picture()])
    assert isinstance(opened, Image.Image)
    assert opened.tobytes() == picture().tobytes()
    assert list(open_all([])) == []


def test_a_reader_that_stops_early_ends_the_process() -> None:
    images = open_all([Picture(i) for i in range(50)], ahead=2)
    first = next(images)
    assert isinstance(first, Image.Image)
    assert first.tobytes() == Picture(0)().tobytes()
    images.close()


@dataclass(frozen=True)
class Killer:
    """Ends the process that opens it, as the out-of-memory killer would."""

    def __call__(self) -> Image.Image:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


def test_the_death_of_the_image_process_is_an_error_with_a_remedy() -> None:
    with pytest.raises(PrefetchError, match=r"ended with code -9.*continues"):
        list(open_all([Picture(0), Killer()]))


SCRIPT = """
import sys
from pathlib import Path
from tests.labelling import FakeBackbone, samples
from training.label import Settings, label

if __name__ == "__main__":
    settings = Settings("plain", shard_images=3, batch_images=2, process=sys.argv[2] == "process")
    out = Path(sys.argv[1])
    label(FakeBackbone(delay=0.004), samples(40), out, settings, lambda t: print(t.done, flush=True))
"""


def run_killed(tmp_path: Path, out: Path, rng: random.Random, mode: str) -> bool:
    """Start labelling and kill -9 it some time after its first progress; True when it had finished."""
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(out), mode]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=ROOT) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(rng.uniform(0, 0.12))
        process.kill()
        process.stdout.read()
    return process.returncode == 0


@pytest.mark.parametrize("mode", ["here", "process"])
def test_kill_9_at_any_moment_loses_and_repeats_nothing(tmp_path: Path, mode: str) -> None:
    label(FakeBackbone(), samples(40), tmp_path / "whole", replace(SETTINGS, shard_images=3))
    rng = random.Random(7)
    killed = tmp_path / "killed"
    finished = [run_killed(tmp_path, killed, rng, mode) for _ in range(6 if mode == "here" else 3)]
    assert not all(finished)
    table = label(FakeBackbone(), samples(40), killed, replace(SETTINGS, shard_images=3))
    assert table.sample_ids == tuple(s.sample_id for s in samples(40))
    assert content(killed) == content(tmp_path / "whole")
    assert len(list((killed / "shards").iterdir())) == 14
    assert json.loads((killed / "run.json").read_text())["prompt"] == "plain"


def test_the_sample_type_of_the_tests_is_the_real_one() -> None:
    assert all(isinstance(sample, Sample) for sample in samples(1))
