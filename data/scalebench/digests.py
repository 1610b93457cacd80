"""What the splits were when they were fixed: hashes of their pictures and questions, kept in digests.json.

A digest is SHA-256 over the digests of the pictures in order; a picture's covers its size, its pixels and
its questions with answers, kinds and difficulty.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import PIL

from data.scalebench.generator import picture
from data.scalebench.plans import EDITION, PLANS

RECORD = Path(__file__).with_name("digests.json")
FIRST = 200
"""Pictures of each split that have a digest of their own, for a quick check."""
LONGEST = 50_000
"""Splits of more pictures have the digest of the first ones alone: nobody draws all of them."""
_CHUNK = 125


@dataclass(frozen=True, slots=True)
class Digest:
    """Of one split: its first pictures, and all of them ("" where that is not recorded)."""

    images: int
    first: str
    all: str


@dataclass(frozen=True, slots=True)
class Digests:
    """pillow: the version that drew; another may draw letters differently."""

    edition: str
    pillow: str
    splits: dict[str, Digest]

    @classmethod
    def read(cls, path: Path | None = None) -> Digests:
        """Raises FileNotFoundError before anything was recorded."""
        told = json.loads((path or RECORD).read_text(encoding="utf-8"))
        splits = {split: Digest(**digest) for split, digest in told["splits"].items()}
        return cls(told["edition"], told["pillow"], splits)

    def write(self, path: Path | None = None) -> None:
        (path or RECORD).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @property
    def same_pillow(self) -> bool:
        return self.pillow == PIL.__version__


def of_picture(split: str, index: int) -> bytes:
    """Digest of one picture with its questions."""
    drawn = picture(split, index)
    told = [(q.text, q.answer, q.kind, sorted(q.difficulty.items())) for q in drawn.questions]
    state = hashlib.sha256(repr(drawn.image.size).encode())
    state.update(drawn.image.tobytes())
    state.update(json.dumps([drawn.family, told]).encode())
    return state.digest()


def first(split: str, images: int = FIRST) -> str:
    """Digest of the first ``images`` pictures of ``split``, or of all if it has fewer."""
    return _joined(of_picture(split, index) for index in range(min(images, PLANS[split].images)))


def record(workers: int, done: Callable[[str], object] = lambda split: None) -> Digests:
    """Draws every picture of every split, as far as it is recorded, on ``workers`` processes.

    done: called with the name of each split behind which it has come.
    """
    splits = {}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for split, plan in PLANS.items():
            whole = plan.images <= LONGEST
            jobs = _jobs(split, plan.images if whole else FIRST)
            digests = [digest for part in pool.map(_part, jobs) for digest in part]
            splits[split] = Digest(plan.images, _joined(digests[:FIRST]), _joined(digests) if whole else "")
            done(split)
    return Digests(EDITION, PIL.__version__, splits)


def differences(recorded: Digests, drawn: Digests) -> list[str]:
    """One line for each split that is not what was recorded; none if all are."""
    if recorded.edition != drawn.edition:
        return [f"The record is of {recorded.edition}; this is {drawn.edition}."]
    lines = []
    for split in {**recorded.splits, **drawn.splits}:
        then, now = recorded.splits.get(split), drawn.splits.get(split)
        if then != now:
            lines.append(f"{split}: recorded {_told(then)}, drawn {_told(now)}.")
    return lines


def _told(digest: Digest | None) -> str:
    return "nothing" if digest is None else f"{digest.images} pictures {(digest.all or digest.first)[:12]}"


def _jobs(split: str, count: int) -> Iterator[tuple[str, int, int]]:
    return ((split, start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK))


def _part(job: tuple[str, int, int]) -> list[bytes]:
    split, start, stop = job
    return [of_picture(split, index) for index in range(start, stop)]


def _joined(digests: Iterable[bytes]) -> str:
    return hashlib.sha256(b"".join(digests)).hexdigest()
