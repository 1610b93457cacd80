"""Labelling on a Ray cluster: Ray Data hands shards to engines, one on each device; this process writes them.

Plan, manifest, shards and the lock on the folder are those of `training.label`: only where a shard is made
differs, and a shard is the same wherever it is made. When an engine's process or machine dies, Ray starts
another and the shard in its hand is made again; when they die while they load, one after another, the run
ends. A shard at which `DEATHS` of them died is left until the others are made; then the run ends. When this
process dies, its run ends everywhere, and the same command continues it. A shard that Ray brings twice is
written once.

Not covered: pictures and checkpoints that are not at the same path on every machine.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from m3_backbone.prompt import Conversation
from m3_backbone.scales import Ladder
from router.errors import M3Error
from router.ray_cluster import Share, require_ray
from training.answering import Backbone, Batch, Identity, Made, Plan, make_shard
from training.label import Makes
from training.prefetch import open_all
from training.shards import Group, LabelError

if TYPE_CHECKING:
    from m3_backbone import M3Model

T = TypeVar("T")

Steps = list[Batch | Made]

DEATHS = 5
"""Engines that may die one after another while they load or at one shard, and shards at which they may.

What does not fit into memory never will.
"""

_DIED = (
    f"{DEATHS} engines or more died one after another while they loaded. Has a machine of the cluster enough "
    "memory for the engines that it is given? Ray's logs say how they died."
)


_REMEDY = (
    "Ray's logs say how they died. Give each engine more memory or, where a picture is at fault, put an "
    "empty file in its place: pictures that cannot be opened are left out and listed."
)


class ClusterError(RuntimeError):
    """The cluster failed, or was taken away."""


class DeadlyShard(ClusterError):
    """`DEATHS` engines died at a shard, one after another."""


@dataclass(frozen=True, slots=True)
class Known:
    """What labels are of, where no engine is at hand. template: that conversations are put in."""

    name: str
    fingerprint: str
    ladder: Ladder
    template: Conversation

    @classmethod
    def of(cls, model: M3Model) -> Known:
        return cls(model.name, model.fingerprint, model.ladder, model.template)


@dataclass(frozen=True, slots=True)
class Engines:
    """load: makes an engine, in a process of Ray's. share: how many, and what of the cluster each has."""

    load: Callable[[], Backbone]
    share: Share

    def ask(self, question: Callable[[Any], T]) -> T:
        """What ``question`` says of an engine, which is loaded for it.

        Raises what loading raises, and `M3Error` when the cluster fails or the engine dies `DEATHS` times.
        """
        ray = require_ray()
        # no retries of Ray's: it has no end to them where it kills a process for its memory
        task = ray.remote(num_cpus=self.share.cpus, num_gpus=self.share.gpus, max_retries=0)(_ask)
        died = (
            ray.exceptions.WorkerCrashedError,
            ray.exceptions.OutOfMemoryError,
            ray.exceptions.NodeDiedError,
        )
        for _ in range(DEATHS):
            try:
                answer: T | Exception = ray.get(task.remote(self.load, question))
            except died:
                continue
            except ray.exceptions.RayError as error:
                raise M3Error(_failed(error), code="no_cluster") from error
            if isinstance(answer, ClusterError):  # in place of what could not be sent
                raise M3Error(str(answer), code="engine_error")
            if isinstance(answer, Exception):
                raise answer
            return answer
        raise M3Error(_DIED, code="engine_dead")


class Deaths:
    """Counts what engines began and died of; in a process of Ray's that outlives theirs."""

    def __init__(self, engines: int) -> None:
        self._most_loads = engines + DEATHS  # as many may load at once
        self._loads = 0
        self._shards: Counter[int] = Counter()
        self._batches: Counter[int] = Counter()

    def begin_load(self) -> bool:
        """Whether another engine may load. If not, at least `DEATHS` of those before it died of it."""
        self._loads += 1
        return self._loads <= self._most_loads

    def end_load(self) -> None:
        """One is loaded."""
        self._loads = 0

    def begin_shard(self, number: int) -> int | None:
        """None where a shard may be made; else the batch of it at which the last of `DEATHS` engines died."""
        if self._shards[number] == DEATHS:
            return self._batches[number]
        self._shards[number] += 1
        self._batches[number] = 0
        return None

    def end_batch(self, number: int) -> None:
        """The next one of the shard is begun."""
        self._batches[number] += 1

    def end_shard(self, number: int) -> None:
        """It is made."""
        del self._shards[number]


def on_ray(engines: Engines, identity: Identity) -> Makes:
    """Makes shards by ``engines``, each of which must be ``identity``."""
    return partial(_make, engines, identity)


def _ask(load: Callable[[], Backbone], question: Callable[[Any], T]) -> T | Exception:
    try:
        return question(load())
    except Exception as error:  # as it is: what Ray would make of it has another type and a traceback in it
        return _sendable(error)


def _sendable(error: Exception) -> Exception:
    """``error``; where it would not arrive as it is, one that names it."""
    from ray import cloudpickle

    try:
        cloudpickle.loads(cloudpickle.dumps(error))
    except Exception:  # of any kind: its class decides how it is packed
        return ClusterError(f"An engine failed: {type(error).__name__}: {error}")
    return error


def _make(
    engines: Engines, identity: Identity, work: Plan, missing: Sequence[int]
) -> Generator[Batch | Made]:
    """The shards in the order in which they are finished."""
    if not missing:
        return
    ray = require_ray()
    from ray.data import ActorPoolStrategy, DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # the run shows its own progress
    count = min(engines.share.count, len(missing))
    deaths = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Deaths).remote(count)
    dumps = ray.cloudpickle.dumps
    rows = [{"number": number, "shard": dumps(work.shards[number])} for number in missing]
    made = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        Labeller,
        fn_constructor_args=(engines.load, identity.fingerprint, replace(work, shards=()), deaths),
        batch_size=1,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(
            size=count,
            max_tasks_in_flight_per_actor=1,  # a shard waits for the first free engine, not for a certain one
        ),
        num_cpus=engines.share.cpus,
        num_gpus=engines.share.gpus,
    )
    try:
        yield from _once(ray, made, set(missing))
    except ray.exceptions.RayError as error:
        raise ClusterError(_failed(error)) from error


def _failed(error: Exception) -> str:
    """The last line of what Ray says, which is no frame of a traceback."""
    said = str(error).strip() or type(error).__name__
    return f"The Ray cluster failed: {said.splitlines()[-1]}"


def _once(ray: Any, made: Any, left: set[int]) -> Generator[Batch | Made]:
    """What ``made`` says of the shards ``left``, of each once; at the end, which of them kill engines."""
    deadly: dict[int, str] = {}
    for table in made.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        for number, steps in zip(table["number"].to_pylist(), table["steps"].to_pylist(), strict=True):
            found: Steps | Exception = ray.cloudpickle.loads(steps)
            if isinstance(found, DeadlyShard):
                deadly[number] = str(found)
                if len(deadly) == DEATHS:  # it is not the shards
                    raise ClusterError(f"{' '.join(deadly.values())} {_REMEDY}")
            elif isinstance(found, Exception):
                raise found
            elif number in left:
                left.remove(number)
                yield from found
    if deadly:
        raise ClusterError(f"{' '.join(deadly.values())} {_REMEDY}")


def _deadly(number: int, images: Sequence[Group]) -> DeadlyShard:
    ids = ", ".join(group[0].image_id for group in images)
    return DeadlyShard(
        f"{DEATHS} engines died one after another at shard {number}, the last at the questions of {ids}."
    )


class Labeller:
    """An engine in a process of Ray's. Whatever it raises is the result, and is raised where the run is.

    deaths: the run's `Deaths`, as an actor.
    """

    def __init__(self, load: Callable[[], Backbone], fingerprint: str, work: Plan, deaths: Any) -> None:
        self._load = load
        self._fingerprint = fingerprint
        self._work = work
        self._deaths = deaths
        self._backbone: Backbone | None = None

    def __call__(self, rows: Any) -> Any:
        """A table of one row, ``number`` and ``shard`` -> one of ``number`` and ``steps``."""
        import pyarrow as pa
        from ray import cloudpickle

        number = rows["number"][0].as_py()
        found: Steps | Exception
        try:
            found = self._steps(
                number, replace(self._work, shards=(cloudpickle.loads(rows["shard"][0].as_py()),))
            )
        except Exception as error:
            found = _sendable(error)
        return pa.table(
            {"number": [number], "steps": pa.array([cloudpickle.dumps(found)], pa.large_binary())}
        )

    def _steps(self, number: int, work: Plan) -> Steps:
        import ray

        backbone = self._backbone = self._backbone or self._loaded()
        (shard,) = work.shards
        if (died_at := ray.get(self._deaths.begin_shard.remote(number))) is not None:
            size = work.settings.batch_images
            raise _deadly(number, shard[died_at * size : (died_at + 1) * size])
        steps: Steps = []
        sources = [group[0].open_image for group in shard]
        ahead, process = 2 * work.settings.batch_images, work.settings.process
        with closing(open_all(sources, ahead=ahead, process=process)) as images:
            for step in make_shard(backbone, work, 0, images):
                steps.append(step)
                if isinstance(step, Batch):
                    ray.get(self._deaths.end_batch.remote(number))
        ray.get(self._deaths.end_shard.remote(number))
        return [replace(step, number=number) if isinstance(step, Made) else step for step in steps]

    def _loaded(self) -> Backbone:
        import ray

        if not ray.get(self._deaths.begin_load.remote()):
            raise ClusterError(_DIED)
        backbone = self._load()
        ray.get(self._deaths.end_load.remote())
        if backbone.fingerprint != self._fingerprint:
            raise LabelError(
                f"A machine of the cluster has another backbone: its fingerprint is {backbone.fingerprint}, "
                f"the run's is {self._fingerprint}. Put the same checkpoint on all of them."
            )
        return backbone
