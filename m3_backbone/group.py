"""Rows of about one length on their way through prefill and decoding."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import pad

from m3_backbone.decoder import Block, Decoder, Step
from m3_backbone.head import Head
from m3_backbone.rows import Extent, Row

_FIRST_STEPS = 32  # decoding steps that a group has room for before its block grows
_CHUNK_TOKENS = 2400  # prefix tokens that go through the layers at once


class Group:
    """Rows of about one length: their keys live in one block, laid out as `Extent` says.

    fixed: the block has its full size from the start and never moves: what a budget of bytes needs.
    """

    def __init__(self, decoder: Decoder, rows: Sequence[Row], *, fixed: bool = False) -> None:
        self.decoder = decoder
        self.rows = rows
        self.fixed = fixed
        device = decoder.device
        extent = Extent.of(rows)
        self.prefix = [row.prefix.shape[0] for row in rows]
        self.width, self.packed, self.columns = extent.prefix, extent.packed, extent.columns
        steps = extent.steps if fixed else min(extent.steps, _FIRST_STEPS)
        capacity = self.width + self.packed + self.columns * steps
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

    def prefill_prefix(self, head: Head | None = None) -> None:
        """Stores the keys of the shared prefixes, some rows at a time; nobody reads their last layer.

        head: keys of what all the rows start with: copied, and not computed again.
        """
        if self.width == 0:
            return
        known = head.length if head is not None and all(row.head == head.ids for row in self.rows) else 0
        width = self.width - known
        rows_at_once = max(1, _CHUNK_TOKENS // self.width)
        device = self.decoder.device
        nothing = torch.zeros(0, dtype=torch.int64, device=device)
        for first in range(0, len(self.rows), rows_at_once):
            part = self.rows[first : first + rows_at_once]
            lengths = [n - known for n in self.prefix[first : first + rows_at_once]]
            view = self.block.part(first, len(part))
            if head is not None and known:
                view.start_with(head.block)
            spots = [torch.arange(n) + index * width for index, n in enumerate(lengths)]
            positions = torch.cat([torch.arange(n) for n in lengths]).to(device) + known
            full = all(n == width for n in lengths)
            step = Step(
                block=view,
                hidden=torch.cat([row.prefix[known:] for row in part]),
                positions=positions,
                queries=width,
                mask=self.decoder.causal_mask(len(part), width, known) if known else None,
                slots=None if full else torch.cat(spots).to(device),
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
            self.block.select(index, in_place=self.fixed)
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
