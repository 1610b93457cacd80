"""Labelling on a Ray cluster of several processes of this machine; skipped where Ray is not installed.

RAY_KILLS says how often the slow test kills a random engine (`make test-ray`).
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from data.records import read_outcomes
from m3_backbone.images import content_hash
from m3_backbone.types import Generation, GenerationRequest, PromptTooLong
from router.errors import M3Error
from tests.labelling import SETTINGS, FakeBackbone, FakeImage, Picture, content, samples
from tests.ray_processes import kill_one, workers
from training.label import LabelError, Stopped, Tally, label, label_by
from training.ray_labelling import ClusterError, Engines, on_ray

pytest.importorskip("ray", reason="the extra [ray] is not installed")

from router.ray_cluster import Share, cluster

pytestmark = [
    pytest.mark.filterwarnings("default"),  # Ray's own, of which there are many
    pytest.mark.timeout(1200),
]

ROOT = Path(__file__).parent.parent
KILLS = int(os.environ.get("RAY_KILLS", "50"))
ENGINE = "MapWorker"
SHARDS = replace(SETTINGS, shard_images=3)
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"},
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
}


@dataclass
class Refusing(FakeBackbone):
    """Its prompts are too long."""

    def generate(self, requests: Sequence[GenerationRequest]) -> list[Generation]:
        raise PromptTooLong("700 tokens.")


@dataclass
class Poisoned(FakeBackbone):
    """A process that one of the pictures, or each, kills."""

    each: bool = False

    def encode_image(self, image: Image.Image) -> FakeImage:
        if self.each or content_hash(image) == content_hash(Picture(7)()):
            os._exit(1)
        return super().encode_image(image)


def dying() -> FakeBackbone:
    """As a process that finds no memory for its model."""
    os._exit(1)


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    with cluster({"PYTHONPATH": str(ROOT)}, cpus=2) as connected:
        yield connected


def labelled(ray: Any, out: Path, settings: Any = SHARDS, load: Any = FakeBackbone, **more: Any) -> Any:
    return label_by(
        FakeBackbone(),
        on_ray(Engines(load, Share.of(ray, "cpu", 2)), FakeBackbone()),
        samples(40),
        out,
        settings,
        **more,
    )


@pytest.mark.parametrize("process", [False, True])
def test_the_table_is_that_of_a_single_process(ray: Any, tmp_path: Path, process: bool) -> None:
    settings = replace(SHARDS, process=process, shard_images=7)
    mixed, tallies = samples(20, broken=[1, 8]), list[Tally]()
    label(FakeBackbone(), mixed, tmp_path / "one", settings)
    make = on_ray(Engines(FakeBackbone, Share.of(ray, "cpu", 2)), FakeBackbone())
    table = label_by(FakeBackbone(), make, mixed, tmp_path / "ray", settings, tallies.append)
    assert content(tmp_path / "ray") == content(tmp_path / "one")
    assert table.manifest["unreadable_images"] == {
        "toy/1": "cannot read picture 1",
        "toy/8": "cannot read picture 8",
    }
    assert (tallies[-1].done, tallies[-1].unreadable) == (36, 2)
    again = list[Tally]()
    label_by(FakeBackbone(), make, mixed, tmp_path / "ray", settings, again.append)
    assert [tally.resumed for tally in again] == [36]


def test_a_run_that_was_begun_in_one_process_is_continued_on_ray_and_the_other_way(
    ray: Any, tmp_path: Path
) -> None:
    label(FakeBackbone(), samples(40), tmp_path / "whole", SHARDS)
    for begun, other in (("one", "ray"), ("ray", "one")):
        out = tmp_path / f"begun-by-{begun}"
        runs = {"one": partial(label, FakeBackbone(), samples(40)), "ray": partial(labelled, ray)}
        with pytest.raises(Stopped):
            runs[begun](out, SHARDS, stop=lambda: True)
        assert len(list((out / "shards").iterdir())) == 1
        runs[other](out, SHARDS)
        assert content(out) == content(tmp_path / "whole")


def test_what_an_engine_raises_is_raised_where_the_run_is(ray: Any, tmp_path: Path) -> None:
    with pytest.raises(PromptTooLong, match=r"^700 tokens\.$"):
        labelled(ray, tmp_path, load=Refusing)
    with pytest.raises(LabelError, match="another backbone: its fingerprint is other, the run's is fake-1"):
        labelled(ray, tmp_path, load=partial(FakeBackbone, fingerprint="other"))
    with pytest.raises(PromptTooLong, match=r"^700 tokens\.$"):
        Engines(Refusing, Share.of(ray, "cpu")).ask(lambda backbone: backbone.generate([]))
    assert not list((tmp_path / "shards").iterdir())


def test_engines_that_die_while_they_load_end_the_run(ray: Any, tmp_path: Path) -> None:
    with pytest.raises(M3Error, match="died one after another while they loaded"):
        Engines(dying, Share.of(ray, "cpu")).ask(lambda backbone: backbone.name)
    with pytest.raises(ClusterError, match="died one after another while they loaded"):
        labelled(ray, tmp_path, load=dying)
    assert not list((tmp_path / "shards").iterdir())


def test_a_picture_that_kills_engines_ends_the_run_when_all_else_is_labelled(
    ray: Any, tmp_path: Path
) -> None:
    label(FakeBackbone(), samples(40), tmp_path / "whole", SHARDS)
    out, done = tmp_path / "ray", list[Tally]()
    with pytest.raises(
        ClusterError, match=r"at shard 2, the last at the questions of toy/6, toy/7\. Ray's logs"
    ):
        labelled(ray, out, load=Poisoned, on_progress=done.append)
    assert done[-1].done == 74
    assert sorted(folder.name for folder in (out / "shards").iterdir()) == [
        f"{number:05d}" for number in range(14) if number != 2
    ]
    labelled(ray, out, on_progress=done.append)
    assert done[-1].resumed == 74
    assert content(out) == content(tmp_path / "whole")


def test_shards_that_all_kill_engines_end_the_run(ray: Any, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="empty file in its place") as ended:
        labelled(ray, tmp_path, load=partial(Poisoned, each=True))
    assert str(ended.value).count("5 engines died one after another at shard") == 5


def test_a_shard_that_comes_twice_is_written_once(ray: Any, tmp_path: Path) -> None:
    def twice(plan: Any, missing: Sequence[int]) -> Any:
        yield from on_ray(Engines(FakeBackbone, Share.of(ray, "cpu", 2)), FakeBackbone())(
            plan, [*missing, *missing]
        )

    label(FakeBackbone(), samples(10), tmp_path / "one", SHARDS)
    done = list[Tally]()
    label_by(FakeBackbone(), twice, samples(10), tmp_path / "ray", SHARDS, done.append)
    assert done[-1].done == 20
    assert content(tmp_path / "ray") == content(tmp_path / "one")


def killed(ray: Any, out: Path, kills: int, rng: random.Random) -> int:
    """Labels into ``out`` while engines are killed, at most ``kills`` of them; how many were."""
    over, count = threading.Event(), 0

    def work() -> None:
        nonlocal count
        while count < kills and not over.wait(rng.uniform(0, 3.0)):
            count += kill_one(os.getpid(), ENGINE, rng, patience_s=1.0) > 0

    killer = threading.Thread(target=work)
    killer.start()
    try:
        labelled(ray, out, load=partial(FakeBackbone, delay=0.1))
    finally:
        over.set()
        killer.join()
    return count


def test_engines_that_are_killed_lose_and_repeat_nothing(ray: Any, tmp_path: Path) -> None:
    label(FakeBackbone(), samples(40), tmp_path / "whole", SHARDS)
    assert killed(ray, tmp_path / "ray", 3, random.Random(7))
    assert content(tmp_path / "ray") == content(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_many_kills_lose_and_repeat_nothing(
    ray: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    label(FakeBackbone(), samples(40), tmp_path / "whole", SHARDS)
    whole, rng = content(tmp_path / "whole"), random.Random(7)
    kills, rounds = 0, 0
    while kills < KILLS:
        out = tmp_path / f"round-{rounds}"
        kills += killed(ray, out, KILLS - kills, rng)
        assert content(out) == whole, rounds
        assert len(list((out / "shards").iterdir())) == 14
        assert not list(out.rglob("*.tmp"))
        shutil.rmtree(out)
        rounds += 1
    with capsys.disabled():
        sys.stdout.write(f"{kills} kills in {rounds} runs: every table identical\n")


DRIVER = """
import sys
from functools import partial
from pathlib import Path

from router.ray_cluster import Share, cluster
from tests.labelling import SETTINGS, FakeBackbone, samples
from tests.test_training_ray_labelling import SHARDS, labelled

if __name__ == "__main__":
    with cluster(cpus=2) as ray:
        say = lambda tally: print(tally.done, tally.resumed, flush=True)
        labelled(ray, Path(sys.argv[1]), load=partial(FakeBackbone, delay=0.1), on_progress=say)
"""


def test_a_driver_that_is_killed_loses_what_was_in_flight_and_ends_everywhere(tmp_path: Path) -> None:
    script, out = tmp_path / "driver.py", tmp_path / "out"
    script.write_text(DRIVER)
    label(FakeBackbone(), samples(40), tmp_path / "whole", SHARDS)
    command = [sys.executable, str(script), str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT, cwd=ROOT, text=True) as first:
        assert first.stdout is not None
        for line in first.stdout:
            if int(line.split()[0]) >= 20:
                break
        engines = workers(first.pid, ENGINE)
        first.kill()
        first.stdout.read()
    assert first.returncode == -signal.SIGKILL
    assert engines
    kept = {folder.name: folder.stat().st_mtime_ns for folder in (out / "shards").iterdir()}
    again = subprocess.run(command, capture_output=True, env=ENVIRONMENT, cwd=ROOT, text=True, check=True)
    resumed = int(again.stdout.split()[1])
    assert 12 <= resumed < 80
    assert content(out) == content(tmp_path / "whole")
    assert sum((out / "shards" / name).stat().st_mtime_ns == then for name, then in kept.items()) >= (
        resumed // 6
    )
    assert not [pid for pid in engines if Path(f"/proc/{pid}").exists()]


TWO_MACHINES = """
import os
import sys
from functools import partial
from pathlib import Path

from ray.cluster_utils import Cluster
from router.ray_cluster import Share, cluster
from tests.labelling import FakeBackbone
from tests.test_training_ray_labelling import labelled

if __name__ == "__main__":
    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    other = [machines.add_node(num_cpus=1)]
    os.environ["RAY_ADDRESS"] = machines.address

    def lose(tally):
        if tally.done >= 20 and other:
            machines.remove_node(other.pop(), allow_graceful=False)

    with cluster() as ray:
        print(Share.of(ray, "cpu"))
        labelled(ray, Path(sys.argv[1]), load=partial(FakeBackbone, delay=0.1), on_progress=lose)
        print(Share.of(ray, "cpu"))
    machines.shutdown()
"""


def test_a_machine_that_is_lost_loses_nothing(tmp_path: Path) -> None:
    script = tmp_path / "machines.py"
    script.write_text(TWO_MACHINES)
    label(FakeBackbone(), samples(40), tmp_path / "whole", SHARDS)
    command = [sys.executable, str(script), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, env=ENVIRONMENT, cwd=ROOT, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert str(Share(2, 1, 0)) in done.stdout
    assert str(Share(1, 1, 0)) in done.stdout
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_the_command_line_labels_on_ray_with_the_tiny_model_as_without(tmp_path: Path) -> None:
    rows = []
    for i in range(6):
        Picture(i)().resize((40, 30)).save(tmp_path / f"{i}.png")
        rows += [
            {"image": f"{i}.png", "question": f"What is {word}?", "answers": ["red"]}
            for word in ("this", "it")
        ]
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    verb = [
        sys.executable,
        "-c",
        "from training.cli.main import main; main()",
        "label",
        "--max-new-tokens",
        "4",
    ]
    verb += ["--dataset", str(tmp_path / "mine.jsonl"), "--shard-images", "2"]
    for out, more in (("one", []), ("ray", ["--ray", "--ray-engines", "2"])):
        done = subprocess.run(
            [*verb, "--out", str(tmp_path / out), *more],
            capture_output=True,
            env=ENVIRONMENT,
            cwd=ROOT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert content(tmp_path / "ray") == content(tmp_path / "one")
    assert len(read_outcomes(tmp_path / "ray")) == 12
