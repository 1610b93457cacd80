"""Batches of requests of any mix of scales: prefill in groups, decode together.

Requests that share everything up to their last image (the same image at the same scale) share one row:
the prefix is computed and stored once, and each question attends to it and to itself. Tokens of all rows
go through the linear layers as one flat list; padding exists in the attention of a group alone, and groups
hold rows of about one length. Greedy ids in float32 equal single runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import pad

from m3_backbone.decoder import Block, Decoder, Step
from m3_backbone.sampling import Sampler

_SLACK = 1.25  # rows of a group are at most this much longer than its shortest, plus _SLACK_TOKENS
_SLACK_TOKENS = 8
_FIRST_STEPS = 32  # decoding steps that a group has room for before its block grows
_CHUNK_TOKENS = 2400  # prefix tokens that go through the layers at once

Picked = Callable[[int, int, float, float], bool]
"""(request, token id, log-probability, margin over the runner-up) -> whether the request goes on."""


@dataclass(slots=True)
class Member:
    """One request within a row: its own tokens after the shared prefix."""

    request: int
    suffix: Tensor  # int64 [n], at least one id
    room: int  # new tokens at most
    sampler: Sampler | None = None


@dataclass(slots=True)
class Row:
    """A shared prefix, as embeddings [p, hidden] (p may be 0), and the requests that follow it."""

    prefix: Tensor
    members: list[Member] = field(default_factory=list)


@torch.inference_mode()
def run(decoder: Decoder, rows: Sequence[Row], picked: Picked, cancelled: Callable[[int], bool]) -> None:
    """Prefills all rows, then decodes until ``picked`` says stop, ``room`` is used up or cancelled."""
    groups = [_Group(decoder, members) for members in _similar(rows)]
    for group in groups:
        group.prefill_prefix()
    states = decoder.forward([group.suffix_step() for group in groups])
    while groups:
        active = [member for group in groups for _, _, member in group.active]
        tokens = _pick(decoder.logits(states), active, picked, cancelled)
        start = 0
        for group in groups:
            stop = start + len(group.active)
            group.advance(tokens[start:stop])
            start = stop
        groups = [group for group in groups if group.active]
        if groups:
            states = decoder.forward([group.decode_step() for group in groups])


def _similar(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows in groups of about one prefix length."""
    groups: list[list[Row]] = []
    for row in sorted(rows, key=lambda row: row.prefix.shape[0]):
        length = row.prefix.shape[0]
        if groups and length <= groups[-1][0].prefix.shape[0] * _SLACK + _SLACK_TOKENS:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def _pick(
    logits: Tensor, members: Sequence[Member], picked: Picked, cancelled: Callable[[int], bool]
) -> list[int | None]:
    """The next token of every member, None for those that stop. logits: float32 [members, vocabulary]."""
    logprobs = logits.log_softmax(dim=-1)
    top = logprobs.topk(2, dim=-1)
    ids = top.indices[:, 0].tolist()
    best = top.values[:, 0].tolist()
    margins = (top.values[:, 0].exp() - top.values[:, 1].exp()).tolist()
    tokens: list[int | None] = []
    for place, member in enumerate(members):
        token, logprob = ids[place], best[place]
        if cancelled(member.request):
            tokens.append(None)
            continue
        if member.sampler is not None:
            token = member.sampler(logits[place])
            logprob = float(logprobs[place, token])
        member.room -= 1
        goes_on = picked(member.request, token, logprob, margins[place])
        tokens.append(token if goes_on and member.room > 0 else None)
    return tokens


class _Group:
    """Rows whose keys live in one block. Slots of a row: prefix (padded), suffixes packed one after the
    other (padded), then one slot per member and decoding step."""

    def __init__(self, decoder: Decoder, rows: Sequence[Row]) -> None:
        self.decoder = decoder
        self.rows = rows
        device = decoder.device
        self.prefix = [row.prefix.shape[0] for row in rows]
        self.width = max(self.prefix)
        self.packed = max(sum(len(member.suffix) for member in row.members) for row in rows)
        self.columns = max(len(row.members) for row in rows)
        steps = max(member.room for row in rows for member in row.members) - 1
        capacity = self.width + self.packed + self.columns * min(steps, _FIRST_STEPS)
        self.block = Block(decoder, len(rows), capacity)
        # (row, column, member) of every member that still decodes, and per member what it may see
        self.active = [
            (index, column, member)
            for index, row in enumerate(rows)
            for column, member in enumerate(row.members)
        ]
        self.closed = torch.full(
            (len(rows), self.columns, capacity), float("-inf"), dtype=decoder.dtype, device=device
        )
        # a padded column sees slot 0: attention of a column that sees nothing would be NaN
        self.closed[:, :, 0] = 0
        self.positions = torch.zeros(len(rows), self.columns, dtype=torch.int64, device=device)
        self.tokens = torch.zeros(len(self.active), dtype=torch.int64, device=device)

    def prefill_prefix(self) -> None:
        """Stores the keys of the shared prefixes, some rows at a time; nobody reads their last layer."""
        if self.width == 0:
            return
        rows_at_once = max(1, _CHUNK_TOKENS // self.width)
        cache = self.block.cache
        nothing = torch.zeros(0, dtype=torch.int64, device=self.decoder.device)
        for first in range(0, len(self.rows), rows_at_once):
            part = self.rows[first : first + rows_at_once]
            lengths = self.prefix[first : first + rows_at_once]
            view = Block.__new__(Block)
            view.cache, view.length = cache[:, :, first : first + len(part)], 0
            spots = [torch.arange(n) + index * self.width for index, n in enumerate(lengths)]
            positions = torch.cat([torch.arange(n) for n in lengths]).to(self.decoder.device)
            full = all(n == self.width for n in lengths)
            step = Step(
                block=view,
                hidden=torch.cat([row.prefix for row in part]),
                positions=positions,
                queries=self.width,
                mask=None,
                slots=None if full else torch.cat(spots).to(self.decoder.device),
                keep=nothing,
            )
            self.decoder.forward([step])
        self.block.length = self.width

    def suffix_step(self) -> Step:
        """All members' own prompt tokens at once; the last token of each is kept."""
        device, width, packed = self.decoder.device, self.width, self.packed
        owner = torch.full((len(self.rows), packed), -1)
        ids, spots, positions, keep = [], [], [], []
        n = 0
        for index, row in enumerate(self.rows):
            start = 0
            for column, member in enumerate(row.members):
                count = len(member.suffix)
                owner[index, start : start + count] = column
                ids.append(member.suffix)
                spots.append(torch.arange(count) + index * packed + start)
                positions.append(torch.arange(count) + self.prefix[index])
                seen = self.closed[index, column]
                seen[0] = float("-inf")
                seen[: self.prefix[index]] = 0
                seen[width + start : width + start + count] = 0
                self.positions[index, column] = self.prefix[index] + count
                start += count
                n += count
                keep.append(n - 1)
        same = owner[:, :, None] == owner[:, None, :]
        own = same & torch.ones(packed, packed, dtype=torch.bool).tril()
        lengths = torch.tensor(self.prefix)
        shared = torch.arange(width)[None, :] < lengths[:, None]
        seen_by_all = shared[:, None, :].expand(-1, packed, -1)
        mask = torch.zeros(len(self.rows), packed, width + packed, dtype=self.decoder.dtype)
        mask.masked_fill_(~torch.cat((seen_by_all, own), dim=-1), float("-inf"))
        return Step(
            block=self.block,
            hidden=self.decoder.embed(torch.cat(ids).to(device)),
            positions=torch.cat(positions).to(device),
            queries=packed,
            mask=mask[:, None].to(device),
            slots=torch.cat(spots).to(device),
            keep=torch.tensor(keep, device=device),
        )

    def advance(self, tokens: Sequence[int | None]) -> None:
        """Drops the members that stopped; rows go when half of them or more have none left."""
        going = [token is not None for token in tokens]
        self.tokens = torch.tensor(
            [token for token in tokens if token is not None], dtype=torch.int64, device=self.decoder.device
        )
        self.active = [entry for entry, on in zip(self.active, going, strict=True) if on]
        left = sorted({row for row, _, _ in self.active})
        if left and len(left) * 2 <= self.block.rows:
            index = torch.tensor(left, device=self.decoder.device)
            self.block.select(index)
            self.closed, self.positions = self.closed[index], self.positions[index]
            place = {row: new for new, row in enumerate(left)}
            self.active = [(place[row], column, member) for row, column, member in self.active]

    def decode_step(self) -> Step:
        """One new token for every active member."""
        rows, columns = self.closed.shape[:2]
        length = self.block.length
        device = self.decoder.device
        if length + columns > self.block.capacity:
            more = columns * max(_FIRST_STEPS, length // (2 * columns))
            self.block.grow(length + more)
            self.closed = pad(self.closed, (0, more), value=float("-inf"))
        spots = torch.tensor([row * columns + column for row, column, _ in self.active], device=device)
        mask = self.closed[:, :, : length + columns]
        own = torch.arange(columns, device=device)
        self.closed[:, own, length + own] = 0
        positions = self.positions.flatten()[spots]
        self.positions += 1
        return Step(
            block=self.block,
            hidden=self.decoder.embed(self.tokens),
            positions=positions,
            queries=columns,
            mask=mask[:, None],
            slots=None if len(spots) == rows * columns else spots,
        )
