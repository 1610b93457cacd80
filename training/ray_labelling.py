"""Labelling on a Ray cluster: Ray Data hands shards to engines, one on each device; this process writes them.

Plan, manifest, shards and the lock on the folder are those of `training.label`: only where a shard is made
differs, and a shard is the same wherever it is made. When an engine's process or machine dies, Ray starts
another and the shard in its hand is made again. When this process dies, its run ends everywhere, and the same
command continues it. A shard that Ray brings twice is written once.

Not covered: pictures and checkpoints that are not at the same path on every machine.
"""

from __future__ import annotations

import logging
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
from training.shards import LabelError

if TYPE_CHECKING:
    from m3_backbone import M3Model

T = TypeVar("T")

Steps = list[Batch | Made]


class ClusterError(RuntimeError):
    """The cluster failed, or was taken away."""


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

        Raises what loading raises, and `M3Error` when the cluster fails.
        """
        ray = require_ray()
        task = ray.remote(num_cpus=self.share.cpus, num_gpus=self.share.gpus, max_retries=-1)(_ask)
        try:
            answer: T | Exception = ray.get(task.remote(self.load, question))
        except ray.exceptions.RayError as error:
            raise M3Error(_failed(error), code="no_cluster") from error
        if isinstance(answer, Exception):
            raise answer
        return answer


def on_ray(engines: Engines, identity: Identity) -> Makes:
    """Makes shards by ``engines``, each of which must be ``identity``."""
    return partial(_make, engines, identity)


def _ask(load: Callable[[], Backbone], question: Callable[[Any], T]) -> T | Exception:
    try:
        return question(load())
    except Exception as error:  # as it is: what Ray would make of it has another type and a traceback in it
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
    dumps = ray.cloudpickle.dumps
    rows = [{"number": number, "shard": dumps(work.shards[number])} for number in missing]
    made = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        Labeller,
        fn_constructor_args=(engines.load, identity.fingerprint, replace(work, shards=())),
        batch_size=1,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(
            size=min(engines.share.count, len(missing)),
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
    """What ``made`` says of the shards ``left``, of each once."""
    for table in made.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        for number, steps in zip(table["number"].to_pylist(), table["steps"].to_pylist(), strict=True):
            found: Steps | Exception = ray.cloudpickle.loads(steps)
            if isinstance(found, Exception):
                raise found
            if number in left:
                left.remove(number)
                yield from found


class Labeller:
    """An engine in a process of Ray's. Whatever it raises is the result, and is raised where the run is."""

    def __init__(self, load: Callable[[], Backbone], fingerprint: str, work: Plan) -> None:
        self._load = load
        self._fingerprint = fingerprint
        self._work = work
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
            found = error
        return pa.table(
            {"number": [number], "steps": pa.array([cloudpickle.dumps(found)], pa.large_binary())}
        )

    def _steps(self, number: int, work: Plan) -> Steps:
        backbone = self._backbone = self._backbone or self._loaded()
        (shard,) = work.shards
        sources = [group[0].open_image for group in shard]
        ahead, process = 2 * work.settings.batch_images, work.settings.process
        with closing(open_all(sources, ahead=ahead, process=process)) as images:
            steps = list(make_shard(backbone, work, 0, images))
        return [replace(step, number=number) if isinstance(step, Made) else step for step in steps]

    def _loaded(self) -> Backbone:
        backbone = self._load()
        if backbone.fingerprint != self._fingerprint:
            raise LabelError(
                f"A machine of the cluster has another backbone: its fingerprint is {backbone.fingerprint}, "
                f"the run's is {self._fingerprint}. Put the same checkpoint on all of them."
            )
        return backbone
