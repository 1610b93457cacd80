"""Cached keys and values, and where the tokens of a step lie in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

if TYPE_CHECKING:
    from m3_backbone.decoder import Decoder


class Block:
    """Keys and values of R rows of about one length: [layers, 2, R, heads, capacity, head size]."""

    def __init__(self, decoder: Decoder, rows: int, capacity: int) -> None:
        shape = (decoder.n_layers, 2, rows, decoder.kv_heads, capacity, decoder.head_size)
        self.cache = torch.empty(shape, dtype=decoder.dtype, device=decoder.device)
        self.length = 0

    @property
    def rows(self) -> int:
        return self.cache.shape[2]

    @property
    def capacity(self) -> int:
        return self.cache.shape[4]

    def grow(self, capacity: int) -> None:
        """Moves to a buffer of ``capacity`` slots."""
        shape = (*self.cache.shape[:4], capacity, self.cache.shape[5])
        larger = self.cache.new_empty(shape)
        larger[:, :, :, :, : self.length] = self.cache[:, :, :, :, : self.length]
        self.cache = larger

    def select(self, rows: Tensor, *, in_place: bool = False) -> None:
        """Keeps only ``rows`` (int64 indices, ascending); in place, no memory is taken or freed."""
        if not in_place:
            self.cache = self.cache.index_select(2, rows)
            return
        for new, old in enumerate(rows.tolist()):
            if new != old:
                self.cache[:, :, new] = self.cache[:, :, old]
        self.cache = self.cache[:, :, : len(rows)]

    def part(self, first: int, rows: int) -> Block:
        """A view of some rows, empty: what is written to it is here."""
        view = Block.__new__(Block)
        view.cache, view.length = self.cache[:, :, first : first + rows], 0
        return view

    def start_with(self, head: Block) -> None:
        """Copies the keys of ``head`` (one row) to the start of every row."""
        self.cache[:, :, :, :, : head.length] = head.cache[:, :, :, :, : head.length]
        self.length = head.length


@dataclass(frozen=True, slots=True)
class Kept:
    """The k tokens of a step whose output is wanted: the last layer lays them out in R x K slots.

    index: int64 [k], which of the step's tokens. queries: K. slots: int64 [k], index into R * K, None when
    all are in use, in order. mask: additive [R, 1, K, length + Q]; None means that each sees its whole row.
    """

    index: Tensor
    queries: int = 0
    slots: Tensor | None = None
    mask: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """New tokens for one block, in R x Q slots that follow the block's ``length``.

    hidden: [n, hidden] of the n slots in use. positions: [n]. slots: int64 [n], index into R * Q, None when
    all are in use, in order. mask: additive [R, 1, Q, length + Q]; None means causal for an empty block, and
    for one query that it sees its whole row. keep: what is wanted; None means all.
    """

    block: Block
    hidden: Tensor
    positions: Tensor
    queries: int
    mask: Tensor | None
    slots: Tensor | None = None
    keep: Kept | None = None

    @property
    def n_kept(self) -> int:
        return self.hidden.shape[0] if self.keep is None else self.keep.index.shape[0]


class Placed:
    """A step with its views of the block: what all layers need, prepared once.

    heads: of the queries; keys may have fewer.
    """

    def __init__(self, step: Step, heads: int) -> None:
        block = step.block
        self._step = step
        self._repeats = heads // block.cache.shape[3]
        length, end = block.length, block.length + step.queries
        by_side = block.cache.view(-1, *block.cache.shape[2:])  # [layers * 2, R, heads, capacity, size]
        self._seen = by_side[:, :, :, :end].unbind(0)
        self._new = by_side[:, :, :, length:end].transpose(2, 3).unbind(0)  # of each [R, Q, heads, size]

    def store(self, index: int, keys: Tensor, values: Tensor) -> None:
        """Writes the new tokens' keys and values, [n, key heads, size] each, of layer ``index``."""
        for new, tensor in zip(self._new[2 * index : 2 * index + 2], (keys, values), strict=True):
            # slots that are not in use hold zeros: they are masked, which would not help against NaN
            new.copy_(_spread(tensor, self._step.slots, new.shape[0], new.shape[1]))

    def attend(self, index: int, queries: Tensor, *, last: bool) -> Tensor:
        """[n, heads, size] -> [n, heads * size] in layer ``index``; in the last one of the kept tokens."""
        step, kept = self._step, self._step.keep if last else None
        keys, values = self._seen[2 * index : 2 * index + 2]
        if self._repeats > 1:
            keys, values = (part.repeat_interleave(self._repeats, dim=1) for part in (keys, values))
        wanted = step if kept is None else kept
        slots, mask = wanted.slots, wanted.mask
        width = queries.shape[1] * queries.shape[2]
        queries = _spread(queries, slots, step.block.rows, wanted.queries).transpose(1, 2)
        causal = kept is None and mask is None and step.queries > 1
        out = scaled_dot_product_attention(queries, keys, values, attn_mask=mask, is_causal=causal)
        out = out.transpose(1, 2).reshape(-1, width)
        return out if slots is None else out.index_select(0, slots)


def _spread(tensor: Tensor, slots: Tensor | None, rows: int, queries: int) -> Tensor:
    """[n, heads, size] -> [R, Q, heads, size] with zeros in the slots that are not in use."""
    if slots is not None:
        tensor = tensor.new_zeros(rows * queries, *tensor.shape[1:]).index_copy_(0, slots, tensor)
    return tensor.view(rows, queries, *tensor.shape[1:])
