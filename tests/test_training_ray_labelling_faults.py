"""What an engine on Ray does that dies or fails, on a Ray by script: none is needed."""

from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from router.errors import M3Error
from router.ray_cluster import Share
from tests.labelling import LADDER, SETTINGS, FakeBackbone, samples
from training.answering import Made, Plan
from training.ray_labelling import DEATHS, ClusterError, DeadlyShard, Deaths, Engines, Labeller
from training.shards import by_image

KILLS = 50


class Killed(BaseException):
    """The end of a process: nothing in it hears of that."""


class RayError(Exception):
    """Ray's own."""


class WorkerCrashed(RayError):
    """Of a task whose process died."""


class Locked(Exception):
    """Cannot be pickled."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.lock = threading.Lock()


class Particular(Exception):
    """Can be pickled, but not read again."""

    def __init__(self, said: str, *, code: int) -> None:
        super().__init__(said)
        self.code = code


FAULTS: list[Callable[[], Exception]] = [partial(Locked, "no room"), partial(Particular, "no room", code=7)]


class Remote:
    """A function or a class of Ray's: called here, and its process dies of `Killed`."""

    def __init__(self, called: Callable[..., Any], max_retries: int = 0) -> None:
        self._called = called
        self._retries = max_retries

    def remote(self, *args: Any) -> Any:
        while True:
            try:
                result = self._called(*args)
            except Killed:
                if self._retries == 0:
                    return WorkerCrashed("died")
                self._retries -= 1
            else:
                return pickle.loads(pickle.dumps(result))


@pytest.fixture(autouse=True)
def ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def get(result: Any) -> Any:
        if isinstance(result, RayError):
            raise result
        return result

    def remote(*, max_retries: int = 0, **_: Any) -> Callable[[Any], Remote]:
        return lambda called: Remote(called, max_retries)

    kinds = {"RayError": RayError, "WorkerCrashedError": WorkerCrashed}
    others = {name: type(name, (RayError,), {}) for name in ("OutOfMemoryError", "NodeDiedError")}
    there = SimpleNamespace(
        cloudpickle=pickle, exceptions=SimpleNamespace(**kinds, **others), get=get, remote=remote
    )
    monkeypatch.setitem(sys.modules, "ray", there)


@dataclass
class Mortal(FakeBackbone):
    """Raises ``fault`` instead of answers."""

    fault: Callable[[], BaseException] = Killed

    def generate(self, requests: Any) -> Any:
        raise self.fault()


class Loading:
    """Dies ``deaths`` times while it loads."""

    def __init__(self, deaths: int) -> None:
        self.deaths = deaths
        self.begun = 0

    def __call__(self) -> FakeBackbone:
        self.begun += 1
        if self.begun <= self.deaths:
            raise Killed
        return FakeBackbone()


def counting(engines: int) -> Any:
    """`Deaths` as an actor."""
    deaths = Deaths(engines)
    names = ("begin_load", "end_load", "begin_shard", "end_batch", "end_shard")
    return SimpleNamespace(**{name: Remote(getattr(deaths, name)) for name in names})


def asked(load: Callable[[], FakeBackbone]) -> str:
    """The name that an engine says it has."""

    def name(backbone: FakeBackbone) -> str:
        return backbone.name

    return Engines(load, Share(1, 1, 0)).ask(name)


def labelled(load: Callable[[], FakeBackbone], deaths: Any, number: int = 3) -> Any:
    """What the process of an engine that ``load`` makes says of a shard of seven images, two to a batch."""
    plan = Plan((), LADDER, {"dataset": "toy"}, replace(SETTINGS, process=False))
    row = pa.table(
        {"number": [number], "shard": pa.array([pickle.dumps(by_image(samples(7)))], pa.large_binary())}
    )
    said = Labeller(load, "fake-1", plan, deaths)(row)
    return pickle.loads(said["steps"][0].as_py())


def test_a_model_that_dies_while_it_loads_is_asked_again_and_at_last_given_up() -> None:
    assert asked(Loading(DEATHS - 1)) == "fake"
    hopeless = Loading(1000)
    with pytest.raises(M3Error, match=f"{DEATHS} engines or more died one after another") as given_up:
        asked(hopeless)
    assert given_up.value.code == "engine_dead"
    assert hopeless.begun == DEATHS


def test_engines_that_die_while_they_load_end_the_run() -> None:
    deaths, hopeless = counting(2), Loading(1000)
    for _ in range(2 + DEATHS):
        with pytest.raises(Killed):
            labelled(hopeless, deaths)
    said = labelled(hopeless, deaths)
    assert isinstance(said, ClusterError)
    assert "died one after another while they loaded" in str(said)
    assert hopeless.begun == 2 + DEATHS


def test_engines_that_die_at_work_are_started_again_however_often() -> None:
    deaths = counting(2)
    for number in range(KILLS):
        for _ in range(DEATHS - 1):
            with pytest.raises(Killed):
                labelled(Mortal, deaths, number)
    for number in range(KILLS):
        made = labelled(FakeBackbone, deaths, number)[-1]
        assert isinstance(made, Made)
        assert made.number == number


@dataclass
class Poisoned(FakeBackbone):
    """Dies at the questions of its batch ``at``."""

    at: int = 0

    def generate(self, requests: Any) -> Any:
        self.at -= 1
        if self.at < 0:
            raise Killed
        return super().generate(requests)


@pytest.mark.parametrize(("at", "images"), [(0, "toy/0, toy/1"), (2, "toy/4, toy/5"), (3, "toy/6")])
def test_a_shard_at_which_engines_die_is_given_up_and_said_to_be_at_which_images(
    at: int, images: str
) -> None:
    deaths = counting(2)
    for _ in range(DEATHS):
        with pytest.raises(Killed):
            labelled(partial(Poisoned, at=at), deaths)
    said = labelled(FakeBackbone, deaths)
    assert isinstance(said, DeadlyShard)
    assert str(said) == f"5 engines died one after another at shard 3, the last at the questions of {images}."
    assert isinstance(labelled(FakeBackbone, deaths, 4)[-1], Made)


def test_a_shard_that_was_made_between_deaths_has_killed_nobody() -> None:
    deaths = counting(2)
    for _ in range(3):
        for _ in range(DEATHS - 1):
            with pytest.raises(Killed):
                labelled(Mortal, deaths)
        assert isinstance(labelled(FakeBackbone, deaths)[-1], Made)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_cannot_be_sent_is_named(fault: Callable[[], Exception]) -> None:
    kind = type(fault()).__name__
    said = labelled(partial(Mortal, fault=fault), counting(1))
    assert isinstance(said, ClusterError)
    assert str(said) == f"An engine failed: {kind}: no room"

    def load() -> FakeBackbone:
        raise fault()

    with pytest.raises(M3Error, match=f"An engine failed: {kind}: no room"):
        asked(load)
