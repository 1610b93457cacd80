"""The folder of a labelling run: what was promised, which shards are there, and joining them.

``run.json`` says what the labels are of (backbone, prompt, metric, data set, ...); ``shards/00000`` and so on
are outcome tables, each with ``unreadable.json``: the images that could not be opened, and why.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NoReturn

from data.files import write_bytes
from data.joining import concat
from data.records import OutcomeTable, RecordError, Sample, read_outcomes, write_outcomes
from data.writing import MANIFEST

Group = tuple[Sample, ...]
"""The samples of one image."""

_SHARD_IMAGES = "shard_images"  # of a run, not of its labels

_Content = dict[str, tuple[str, tuple[str, ...], str]]  # id -> question, references, metric


EMPTY = "empty.json"
"""In the folder of a part of which no image could be opened, in place of a table: its manifest."""

PART = "part"
"""Key of a part's manifest: {"number": 2, "of": 4, "images": of the whole data set}."""


class LabelError(ValueError):
    """Labels that cannot be made or continued; the message has the remedy."""


class EmptyPart(LabelError):
    """A part is finished, and none of its images could be opened: there is its manifest, and no table."""

    def __init__(self, message: str, manifest: Mapping[str, object]) -> None:
        super().__init__(message)
        self.manifest = manifest


def by_image(samples: Iterable[Sample]) -> list[Group]:
    """Samples grouped by image, in order of first appearance."""
    groups: dict[tuple[str, str], list[Sample]] = {}
    seen: set[str] = set()
    for sample in samples:
        if sample.sample_id in seen:
            raise LabelError(f"Sample id {sample.sample_id!r} comes twice in the data set.")
        seen.add(sample.sample_id)
        groups.setdefault((sample.dataset, sample.image_id), []).append(sample)
    if not groups:
        raise LabelError("The data set has no samples.")
    return [tuple(group) for group in groups.values()]


def plan(groups: Sequence[Group], images: int) -> list[Sequence[Group]]:
    """The shards: ``images`` of the groups to each."""
    if images < 1:
        raise LabelError(f"A shard needs at least 1 image, got {images}.")
    return [groups[i : i + images] for i in range(0, len(groups), images)]


class Shards:
    """Opens ``out`` for one run; a context manager that keeps other processes out of the folder.

    run: what the labels are of; a folder that was begun for another run is refused with `LabelError`.
    """

    def __init__(self, out: Path, run: Mapping[str, object], shards: Sequence[Sequence[Group]]) -> None:
        self.out = out
        self.shards = shards
        self._lock: IO[str] | None = None
        self._run = json.loads(json.dumps(run))

    def __enter__(self) -> Shards:
        (self.out / "shards").mkdir(parents=True, exist_ok=True)
        self._lock = (self.out / ".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise LabelError(
                f"Another process is labelling into {self.out}: wait for it, or choose another --out."
            ) from None
        try:
            for half in self.out.glob(".*.tmp"):  # what a kill left; nobody else writes here now
                half.unlink()
            self._claim()
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.close()

    def _claim(self) -> None:
        path = self.out / "run.json"
        if not path.exists():
            if (self.out / "manifest.json").exists() or any((self.out / "shards").iterdir()):
                raise LabelError(
                    f"{self.out} holds a table, but no run.json to continue it. Choose another --out."
                )
            write_bytes(path, (json.dumps(self._run, indent=1) + "\n").encode())
            return
        begun = _read_object(path)
        if begun is None:
            raise LabelError(
                f"{path} is damaged: what the shards beside it are labels of is not known. "
                "Choose another --out, or remove that folder."
            )
        for key in dict.fromkeys([*begun, *self._run]):
            if begun.get(key) != self._run.get(key):
                raise LabelError(
                    f"{self.out} has labels of another run: {key} was {begun.get(key)!r} and is now "
                    f"{self._run.get(key)!r}. Choose another --out, or remove that folder."
                )

    def folder(self, number: int) -> Path:
        return self.out / "shards" / f"{number:05d}"

    def read(self, number: int) -> tuple[OutcomeTable | None, dict[str, str]] | None:
        """The finished shard: its samples as planned (None: no image could be opened), its unreadable images.

        None when it is not there, torn, or made with a lower --limit: then it is to be made (again).
        Raises `LabelError` when it has other samples than the plan, or is of another run.
        """
        folder = self.folder(number)
        unreadable = _read_object(folder / "unreadable.json")
        if unreadable is None:
            return None
        planned = _content(s for group in self.shards[number] for s in group if s.image_id not in unreadable)
        if not planned:
            return None, unreadable
        try:
            table = read_outcomes(folder)
        except RecordError:
            return None
        self._check_run(table, folder)
        there = {
            i: (question, references, str(metric))
            for i, question, references, metric in zip(
                table.sample_ids, table.questions, table.references, table.metrics, strict=True
            )
        }
        changed = [i for i in planned if i in there and there[i] != planned[i]]
        if changed or not (planned.keys() <= there.keys() or there.keys() <= planned.keys()):
            name = changed[0] if changed else next(i for i in there if i not in planned)
            raise LabelError(
                f"The data set has changed since {folder} was made: sample {name!r} differs or is gone. "
                "Choose another --out, or remove that shard to make it again."
            )
        if not planned.keys() <= there.keys():
            return None
        place = {name: row for row, name in enumerate(table.sample_ids)}
        return table.take([place[name] for name in planned]), unreadable

    def _check_run(self, table: OutcomeTable, folder: Path) -> None:
        """A shard that was copied here from another folder must not slip in."""
        for key, value in self._run.items():
            if key != _SHARD_IMAGES and table.manifest.get(key) != value:
                raise LabelError(
                    f"{folder} is of another run: its {key} is {table.manifest.get(key)!r}, here it is "
                    f"{value!r}. Remove that shard to make it again."
                )

    def write(self, number: int, table: OutcomeTable | None, unreadable: Mapping[str, str]) -> None:
        """Put a shard in place; whatever was there is removed first."""
        folder = self.folder(number)
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir()
        write_bytes(folder / "unreadable.json", (json.dumps(unreadable, indent=1) + "\n").encode())
        if table is not None:
            write_outcomes(folder, table)

    def join(self, described: Mapping[str, object] | None = None) -> OutcomeTable:
        """All shards as one table, written to ``out``. Raises `LabelError` when one is missing.

        described: of the data set, for the manifest; it does not make one run another. Where no image could
        be opened there is no table; of a part the manifest is left for merging, and `EmptyPart` is raised.
        """
        tables: list[OutcomeTable] = []
        unreadable: dict[str, str] = {}
        for number in range(len(self.shards)):
            shard = self.read(number)
            if shard is None:
                raise LabelError(f"Shard {self.folder(number)} is not finished: run the same command again.")
            tables += [shard[0]] if shard[0] is not None else []
            unreadable |= shard[1]
        more = {**(described or {}), "unreadable_images": unreadable}
        if not tables:
            self._leave_empty(more, next(iter(unreadable.values())))
        table = concat(tables)
        table = replace(table, manifest={**table.manifest, **more})
        write_outcomes(self.out, table)
        (self.out / EMPTY).unlink(missing_ok=True)
        return table

    def _leave_empty(self, more: Mapping[str, object], why: str) -> NoReturn:
        if PART not in self._run:
            raise LabelError(f"No image could be opened. The first: {why}")
        manifest = {**{k: v for k, v in self._run.items() if k != _SHARD_IMAGES}, **more}
        write_bytes(self.out / EMPTY, (json.dumps(manifest, indent=1) + "\n").encode())
        raise EmptyPart(
            f"No image of this part could be opened (the first: {why}). `m3-train merge` takes it as it is.",
            manifest,
        )


def read_empty(folder: Path) -> Mapping[str, object] | None:
    """The manifest of a part of which no image could be opened; None where ``folder`` is none."""
    if (folder / MANIFEST).exists():
        return None
    return _read_object(folder / EMPTY)


def _read_object(path: Path) -> dict[str, Any] | None:
    """The JSON object in ``path``; None when there is none, or it is torn."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):  # not UTF-8 and not JSON are ValueErrors
        return None
    return content if isinstance(content, dict) else None


def _content(samples: Iterable[Sample]) -> _Content:
    return {s.sample_id: (s.question, tuple(s.answers), s.metric) for s in samples}
