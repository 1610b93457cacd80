"""Llama's forward pass over blocks of cached keys: where batching needs its own way.

Weights, norms, MLP and rotary embedding are those of `LlamaForCausalLM`. What differs: the linear layers see
one flat list of tokens from all blocks without padding; attention runs block by block; the keys of a prefix
are stored once however many questions follow it; the last layer computes only what somebody reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import LlamaForCausalLM

from m3_backbone.compiling import maybe_compiled


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
class Step:
    """New tokens for one block, in R x Q slots that follow the block's ``length``.

    hidden: [n, hidden] of the n slots in use. positions: [n]. slots: int64 [n], index into R * Q, None when
    all are in use, in order. mask: additive [R, 1, Q, length + Q]; None means causal, for an empty block.
    keep: int64 [k], the tokens (index into n) whose output is wanted; None means all.
    """

    block: Block
    hidden: Tensor
    positions: Tensor
    queries: int
    mask: Tensor | None
    slots: Tensor | None = None
    keep: Tensor | None = None


class Decoder:
    """The language model's layers, run over steps. compiled: with what surrounds attention fused."""

    def __init__(self, model: LlamaForCausalLM, *, compiled: bool = False) -> None:
        config: Any = model.config
        self.model = model
        self.n_layers: int = config.num_hidden_layers
        self.heads: int = config.num_attention_heads
        self.kv_heads: int = config.num_key_value_heads
        self.head_size: int = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        self._head: Any = model.lm_head
        self._llama: Any = model.model
        self._before = maybe_compiled(_before, compiled)
        self._queries = maybe_compiled(_queries, compiled)
        self._after = maybe_compiled(_after, compiled)

    @property
    def dtype(self) -> torch.dtype:
        return self._llama.embed_tokens.weight.dtype  # type: ignore[no-any-return]

    @property
    def device(self) -> torch.device:
        return self._llama.embed_tokens.weight.device  # type: ignore[no-any-return]

    def kv_bytes(self, tokens: int) -> int:
        """Bytes of the keys and values of ``tokens`` tokens."""
        return 2 * self.n_layers * self.kv_heads * self.head_size * tokens * self.dtype.itemsize

    def embed(self, ids: Tensor) -> Tensor:
        """int64 [n] -> [n, hidden]."""
        return self._llama.embed_tokens(ids)  # type: ignore[no-any-return]

    def logits(self, states: Tensor) -> Tensor:
        """[n, hidden] -> float32 [n, vocabulary]."""
        return self._head(states).float()  # type: ignore[no-any-return]

    def causal_mask(self, rows: int, queries: int, before: int) -> Tensor:
        """Additive [rows, 1, queries, before + queries]: each sees itself and all that came earlier."""
        seen = torch.ones(queries, before + queries, dtype=torch.bool, device=self.device).tril(before)
        mask = torch.zeros(queries, before + queries, dtype=self.dtype, device=self.device)
        return mask.masked_fill_(~seen, float("-inf")).expand(rows, 1, -1, -1)

    def forward(self, steps: Sequence[Step]) -> Tensor:
        """Runs all steps together, stores their keys; [sum of kept tokens, hidden] after the last norm."""
        hidden = torch.cat([step.hidden for step in steps]) if len(steps) > 1 else steps[0].hidden
        positions = torch.cat([step.positions for step in steps])
        cos, sin = (part[0] for part in self._llama.rotary_emb(hidden, position_ids=positions[None]))
        layers = self._llama.layers[: self.n_layers]
        for index, layer in enumerate(layers):
            hidden = self._layer(index, layer, hidden, (cos, sin), steps, last=index == self.n_layers - 1)
        for step in steps:
            step.block.length += step.queries
        return self._llama.norm(hidden)  # type: ignore[no-any-return]

    def _layer(
        self,
        index: int,
        layer: Any,
        hidden: Tensor,
        angles: tuple[Tensor, Tensor],
        steps: Sequence[Step],
        *,
        last: bool,
    ) -> Tensor:
        normed, keys, values = self._before(layer, hidden, *angles)
        start = 0
        for step in steps:
            stop = start + step.hidden.shape[0]
            space = slice(step.block.length, step.block.length + step.queries)
            for side, tensor in enumerate((keys, values)):
                step.block.cache[index, side, :, :, space] = _slotted(tensor[start:stop], step)
            start = stop
        if last and any(step.keep is not None for step in steps):
            kept = _kept(steps, hidden.device)
            hidden, normed = hidden[kept], normed[kept]
            angles = (angles[0][kept], angles[1][kept])
        if hidden.shape[0] == 0:
            return hidden
        queries = self._queries(layer, normed, *angles)
        outputs = []
        start = 0
        for step in steps:
            keep = step.keep if last else None
            stop = start + (step.hidden.shape[0] if keep is None else keep.shape[0])
            if stop > start:
                outputs.append(self._attend(index, queries[start:stop], step, keep))
            start = stop
        attended = torch.cat(outputs) if len(outputs) > 1 else outputs[0]
        return self._after(layer, hidden, attended)

    def _attend(self, index: int, queries: Tensor, step: Step, keep: Tensor | None) -> Tensor:
        """[n, heads, head size] -> [n, heads * head size]; ``keep``: which of the step's tokens they are."""
        block, mask = step.block, step.mask
        end = block.length + step.queries
        keys, values = block.cache[index, 0, :, :, :end], block.cache[index, 1, :, :, :end]
        if self.kv_heads != self.heads:
            keys, values = (
                part.repeat_interleave(self.heads // self.kv_heads, dim=1) for part in (keys, values)
            )
        if keep is None:
            slotted = _slotted(queries, step)
            out = scaled_dot_product_attention(slotted, keys, values, attn_mask=mask, is_causal=mask is None)
            out = out.transpose(1, 2).flatten(2).flatten(0, 1)  # [R * Q, heads * head size]
            return out if step.slots is None else out[step.slots]
        spots = keep if step.slots is None else step.slots[keep]
        slotted = queries.new_zeros(block.rows * step.queries, self.heads, self.head_size)
        slotted[spots] = queries
        slotted = slotted.view(block.rows, step.queries, self.heads, self.head_size).transpose(1, 2)
        out = scaled_dot_product_attention(slotted, keys, values, attn_mask=mask, is_causal=mask is None)
        return out.transpose(1, 2).flatten(2).flatten(0, 1)[spots]


def _before(layer: Any, hidden: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """[n, hidden] -> normed [n, hidden], keys and values [n, key heads, size]."""
    normed = layer.input_layernorm(hidden)
    shape = (-1, cos.shape[-1])
    keys = _rotate(layer.self_attn.k_proj(normed).unflatten(-1, shape), cos, sin)
    return normed, keys, layer.self_attn.v_proj(normed).unflatten(-1, shape)


def _queries(layer: Any, normed: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """[n, hidden] -> [n, heads, size]."""
    return _rotate(layer.self_attn.q_proj(normed).unflatten(-1, (-1, cos.shape[-1])), cos, sin)


def _after(layer: Any, hidden: Tensor, attended: Tensor) -> Tensor:
    """What attention gave, projected, and the MLP: [n, hidden]."""
    hidden = hidden + layer.self_attn.o_proj(attended)
    return hidden + layer.mlp(layer.post_attention_layernorm(hidden))  # type: ignore[no-any-return]


def _slotted(tensor: Tensor, step: Step) -> Tensor:
    """[n, heads, size] -> [R, heads, Q, size]; slots not in use hold zeros."""
    rows, queries = step.block.rows, step.queries
    if step.slots is not None:
        full = tensor.new_zeros(rows * queries, *tensor.shape[1:])
        full[step.slots] = tensor
        tensor = full
    return tensor.view(rows, queries, *tensor.shape[1:]).transpose(1, 2)


def _kept(steps: Sequence[Step], device: torch.device) -> Tensor:
    parts, start = [], 0
    for step in steps:
        n = step.hidden.shape[0]
        parts.append(start + (torch.arange(n, device=device) if step.keep is None else step.keep))
        start += n
    return torch.cat(parts)


def _rotate(tensor: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Llama's rotary embedding of [n, heads, size] with angles [n, size]."""
    half = tensor.shape[-1] // 2
    turned = torch.cat((-tensor[..., half:], tensor[..., :half]), dim=-1)
    return tensor * cos[:, None] + turned * sin[:, None]
