"""Rows of a batch, and which of them run together: by length, and within a budget of cached keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from torch import Tensor

from m3_backbone.sampling import Sampler

MIN_HEAD = 16
"""A shorter head is not worth a forward pass of its own; that of m3-tiny's template is."""

_SLACK = 1.25  # rows of a group are at most this much longer than its shortest, plus _SLACK_TOKENS
_SLACK_TOKENS = 8


@dataclass(slots=True)
class Member:
    """One request within a row: its own tokens after the shared prefix."""

    request: int
    suffix: Tensor  # int64 [n], at least one id
    room: int  # new tokens at most
    sampler: Sampler | None = None


@dataclass(slots=True)
class Row:
    """A shared prefix, as embeddings [p, hidden] (p may be 0), and the requests that follow it.

    head: ids that the prefix starts with, before its first image; rows with equal heads may share them.
    """

    prefix: Tensor
    members: list[Member] = field(default_factory=list)
    head: tuple[int, ...] = ()

    @property
    def alone(self) -> bool:
        """One request has it, whose own tokens then follow in the same forward pass."""
        return len(self.members) == 1

    @property
    def whole(self) -> int:
        """Tokens of prefix and suffixes."""
        return self.prefix.shape[0] + sum(len(member.suffix) for member in self.members)


@dataclass(frozen=True, slots=True)
class Extent:
    """Slots of a group's rows: prefix (padded), suffixes packed one after the other (padded), then one slot
    per member (``columns``) and decoding step. Where each row has one member, its suffix is in ``prefix``."""

    rows: int
    prefix: int
    packed: int
    columns: int
    steps: int

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Extent:
        alone = all(row.alone for row in rows)
        return cls(
            rows=len(rows),
            prefix=max(row.whole if alone else row.prefix.shape[0] for row in rows),
            packed=0 if alone else max(row.whole - row.prefix.shape[0] for row in rows),
            columns=max(len(row.members) for row in rows),
            steps=max(member.room for row in rows for member in row.members) - 1,
        )

    @property
    def slots(self) -> int:
        """Slots of all rows when every step is used."""
        return self.rows * (self.prefix + self.packed + self.columns * self.steps)


def similar(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows in groups of about one length: of the prefix, or of all where no prefix is shared."""
    alone = all(row.alone for row in rows)
    lengths = [row.whole if alone else row.prefix.shape[0] for row in rows]
    groups: list[list[Row]] = []
    shortest = 0
    for length, row in sorted(zip(lengths, rows, strict=True), key=itemgetter(0)):
        if groups and length <= shortest * _SLACK + _SLACK_TOKENS:
            groups[-1].append(row)
        else:
            groups.append([row])
            shortest = length
    return groups


def shared_head(rows: Sequence[Row]) -> tuple[int, ...]:
    """The head that two or more of ``rows`` have and that is long enough to be computed once; () if none."""
    heads = [row.head for row in rows if len(row.head) >= MIN_HEAD]
    return heads[0] if len(heads) > 1 and len(set(heads)) == 1 else ()


def slots(rows: Sequence[Row]) -> int:
    """Slots of keys that ``rows`` take when they run together to their last step."""
    return len(shared_head(rows)) + sum(Extent.of(group).slots for group in similar(rows))


def waves(rows: Sequence[Row], budget: int) -> Iterator[list[Row]]:
    """``rows`` in portions of at most ``budget`` slots, in order; a row is taken apart only if it has to be.

    A request that alone is larger than the budget makes a portion of its own: refuse it before.
    """
    wave: list[Row] = []
    for row in rows:
        if slots([*wave, row]) <= budget:
            wave.append(row)
            continue
        if wave:
            yield wave
        parts = list(_parts(row, budget))
        yield from ([part] for part in parts[:-1])
        wave = parts[-1:]
    if wave:
        yield wave


def _parts(row: Row, budget: int) -> Iterator[Row]:
    part = Row(row.prefix, [], row.head)
    for member in row.members:
        if part.members and slots([Row(row.prefix, [*part.members, member])]) > budget:
            yield part
            part = Row(row.prefix, [], row.head)
        part.members.append(member)
    yield part
