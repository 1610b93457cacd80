"""Rows of about one length on their way through prefill and decoding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from m3_backbone.decoder import Decoder
from m3_backbone.head import Head
from m3_backbone.rows import Extent, Row
from m3_backbone.slots import Block, Kept, Step

CHUNK_TOKENS = 2400
"""Prompt tokens that go through the layers at once."""

_FIRST_STEPS = 32  # decoding steps that a group has room for before its block grows


class Group:
    """Rows of about one length: their keys live in one block, laid out as `Extent` says.

    alone: each row has one member. fixed: the block has its full size from the start and never moves: what a
    budget of bytes needs.
    """

    def __init__(self, decoder: Decoder, rows: Sequence[Row], *, fixed: bool = False) -> None:
        self.decoder = decoder
        self.rows = rows
        self.fixed = fixed
        self.alone = all(row.alone for row in rows)
        extent = Extent.of(rows)
        self.first = [row.whole if self.alone else row.prefix.shape[0] for row in rows]
        self.width, self.packed, self.columns = extent.prefix, extent.packed, extent.columns
        steps = extent.steps if fixed else min(extent.steps, _FIRST_STEPS)
        capacity = self.width + self.packed + self.columns * steps
        self.block = Block(decoder, len(rows), capacity)
        # (row, column, member) of every member that still decodes
        self.active = [
            (index, column, member)
            for index, row in enumerate(rows)
            for column, member in enumerate(row.members)
        ]
        # [rows, columns]: the next position of every member
        self.positions = torch.tensor(self.first, device=decoder.device)[:, None].repeat(1, self.columns)
        self.tokens: Tensor
        # additive [rows, columns, capacity]: what every member may see; None: all of its row
        self.closed: Tensor | None = None
        if not (self.alone and min(self.first) == self.width):
            shape = (len(rows), self.columns, capacity)
            closed = torch.full(shape, float("-inf"), dtype=decoder.dtype, device=decoder.device)
            slots = torch.arange(capacity, device=decoder.device)
            closed.masked_fill_(slots < self.positions[:, :, None], 0)
            self.closed = closed
        self._spots = self._active_spots()

    def first_steps(self, head: Head | None = None) -> Iterator[Step]:
        """The shared prefixes, some rows at a time: nobody reads their last layer. Of rows alone, all tokens.

        head: keys of what all the rows start with: copied, and not computed again.
        """
        known = head.length if head is not None and all(row.head == head.ids for row in self.rows) else 0
        width = self.width - known
        rows_at_once = max(1, CHUNK_TOKENS // max(1, self.width))
        device = self.decoder.device
        for start in range(0, len(self.rows), rows_at_once) if self.width else ():
            part = self.rows[start : start + rows_at_once]
            lengths = torch.tensor(self.first[start : start + rows_at_once]) - known
            view = self.block.part(start, len(part))
            if head is not None and known:
                view.start_with(head.block)
            used = (torch.arange(width) < lengths[:, None]).flatten().nonzero()[:, 0]
            full = len(used) == len(part) * width
            yield Step(
                block=view,
                hidden=torch.cat([self._first(row)[known:] for row in part]),
                positions=(used % width + known).to(device),
                queries=width,
                mask=self.decoder.causal_mask(len(part), width, known) if known else None,
                slots=None if full else used.to(device),
                keep=self._last(start, lengths),
            )
        self.block.length = self.width

    def _first(self, row: Row) -> Tensor:
        """Embeddings of what the first pass has of ``row``."""
        if not self.alone:
            return row.prefix
        suffix = self.decoder.embed(row.members[0].suffix.to(self.decoder.device))
        return torch.cat((row.prefix, suffix)) if row.prefix.shape[0] else suffix

    def _last(self, start: int, lengths: Tensor) -> Kept:
        """Of rows alone their last tokens, of others nothing. lengths: tokens of each row in this step."""
        index = (lengths.cumsum(0) - 1 if self.alone else lengths[:0]).to(self.decoder.device)
        mask = None
        if self.alone and self.closed is not None:
            mask = self.closed[start : start + len(lengths), None, :, : self.width]
        return Kept(index, queries=1, mask=mask)

    def suffix_step(self) -> Step:
        """All members' own prompt tokens at once, after a shared prefix; the last token of each is kept."""
        assert self.closed is not None
        device, width, packed = self.decoder.device, self.width, self.packed
        owner = torch.full((len(self.rows), packed), -1)
        ids, spots, positions, keep, kept = [], [], [], [], []
        n = 0
        for index, row in enumerate(self.rows):
            start = 0
            for column, member in enumerate(row.members):
                count = len(member.suffix)
                owner[index, start : start + count] = column
                ids.append(member.suffix)
                spots.append(torch.arange(count) + index * packed + start)
                positions.append(torch.arange(count) + self.first[index])
                self.closed[index, column, width + start : width + start + count] = 0
                self.positions[index, column] = self.first[index] + count
                start += count
                n += count
                keep.append(n - 1)
                kept.append(index * self.columns + column)
        same = owner[:, :, None] == owner[:, None, :]
        own = same & torch.ones(packed, packed, dtype=torch.bool).tril()
        lengths = torch.tensor(self.first)
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
            keep=Kept(
                torch.tensor(keep, device=device),
                queries=self.columns,
                slots=torch.tensor(kept, device=device),
                mask=self.closed[:, None, :, : width + packed],
            ),
        )

    def advance(self, tokens: Sequence[int | None]) -> None:
        """Drops the members that stopped; rows go when half of them or more have none left."""
        going = [token for token in tokens if token is not None]
        device = self.decoder.device
        self.tokens = torch.tensor(going, dtype=torch.int64, device=device)
        if len(going) == len(tokens):
            return
        self.active = [entry for entry, on in zip(self.active, tokens, strict=True) if on is not None]
        left = sorted({row for row, _, _ in self.active})
        if left and len(left) * 2 <= self.block.rows:
            index = torch.tensor(left, device=device)
            self.block.select(index, in_place=self.fixed)
            self.positions = self.positions[index]
            self.closed = None if self.closed is None else self.closed[index]
            place = {row: new for new, row in enumerate(left)}
            self.active = [(place[row], column, member) for row, column, member in self.active]
        self._spots = self._active_spots()

    def _active_spots(self) -> Tensor | None:
        """Where the active members are among rows x columns; None when they are everywhere."""
        rows, columns = self.positions.shape
        if len(self.active) == rows * columns:
            return None
        spots = [row * columns + column for row, column, _ in self.active]
        return torch.tensor(spots, device=self.decoder.device)

    def decode_step(self) -> Step:
        """One new token for every active member."""
        length, columns = self.block.length, self.columns
        if length + columns > self.block.capacity:
            more = columns * max(_FIRST_STEPS, length // (2 * columns))
            self.block.grow(length + more)
            if self.closed is not None:
                self.closed = pad(self.closed, (0, more), value=float("-inf"))
        mask = None
        if self.closed is not None:
            self.closed[:, :, length : length + columns].diagonal(dim1=1, dim2=2).zero_()
            mask = self.closed[:, None, :, : length + columns]
        positions = self.positions.flatten()
        self.positions = self.positions + 1
        return Step(
            block=self.block,
            hidden=self.decoder.embed(self.tokens),
            positions=positions if self._spots is None else positions.index_select(0, self._spots),
            queries=columns,
            mask=mask,
            slots=self._spots,
        )
