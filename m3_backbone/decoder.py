"""Llama's forward pass over blocks of cached keys: where batching needs its own way.

Weights, MLP and angles are those of `LlamaForCausalLM`. What differs: the linear layers see one flat list of
tokens from all blocks without padding; attention runs block by block; the keys of a prefix are stored once
however many questions follow it; the last layer computes only what somebody reads. A decoding step is all
calls and no arithmetic, so what is the same for all layers is prepared once per step (`m3_backbone.slots`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import rms_norm
from transformers import LlamaForCausalLM

from m3_backbone.compiling import maybe_compiled
from m3_backbone.slots import Placed, Step

_STATIC_ANGLES = frozenset({"default", "linear", "llama3", "yarn"})
"""Kinds of rotary embedding whose angles at a position do not depend on how long the sequence is."""


class Decoder:
    """The language model's layers, run over steps. compiled: with what surrounds attention fused."""

    def __init__(self, model: LlamaForCausalLM, *, compiled: bool = False) -> None:
        config: Any = model.config
        self.model = model
        self.n_layers: int = config.num_hidden_layers
        self.heads: int = config.num_attention_heads
        self.kv_heads: int = config.num_key_value_heads
        self.head_size: int = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        self._positions: int = config.max_position_embeddings
        self._head: Any = model.lm_head
        self._llama: Any = model.model
        self._table: Tensor | None = None
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

    def drop_layers(self) -> None:
        """Frees what only answers need: another process has it. Sizes and embeddings stay."""
        self._llama.layers = nn.ModuleList()
        self._head = self.model.lm_head = nn.Identity()

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
        placed = [Placed(step, self.heads) for step in steps]
        hidden = torch.cat([step.hidden for step in steps]) if len(steps) > 1 else steps[0].hidden
        positions = torch.cat([step.positions for step in steps]) if len(steps) > 1 else steps[0].positions
        angles = self._angles(positions)
        kept = _kept(steps)
        sizes = [step.hidden.shape[0] for step in steps]
        for index, layer in enumerate(self._llama.layers[: self.n_layers]):
            normed, keys, values = self._before(layer, hidden, *angles)
            for own, own_keys, own_values in zip(
                placed, torch.split(keys, sizes), torch.split(values, sizes), strict=True
            ):
                own.store(index, own_keys, own_values)
            last = index == self.n_layers - 1
            if last and kept is not None:
                hidden, normed = hidden.index_select(0, kept), normed.index_select(0, kept)
                angles = (angles[0].index_select(0, kept), angles[1].index_select(0, kept))
                sizes = [step.n_kept for step in steps]
            if hidden.shape[0] == 0:
                break
            queries = self._queries(layer, normed, *angles)
            outputs = [
                own.attend(index, asked, last=last)
                for own, asked in zip(placed, torch.split(queries, sizes), strict=True)
                if asked.shape[0]
            ]
            hidden = self._after(layer, hidden, torch.cat(outputs) if len(outputs) > 1 else outputs[0])
        for step in steps:
            step.block.length += step.queries
        return _norm(self._llama.norm, hidden)

    def _angles(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines [n, 1, head size] as `_rotate` wants them."""
        rotary = self._llama.rotary_emb
        if rotary.rope_type not in _STATIC_ANGLES:
            cos, sin = _signed(*rotary(self._head.weight, position_ids=positions[None])).unbind(1)
            return cos, sin
        if self._table is None:
            everywhere = torch.arange(self._positions, device=self.device)[None]
            self._table = _signed(*rotary(self._head.weight, position_ids=everywhere))
        cos, sin = self._table.index_select(0, positions).unbind(1)
        return cos, sin


def _kept(steps: Sequence[Step]) -> Tensor | None:
    """Which of all steps' tokens are wanted, int64; None for all of them."""
    if all(step.keep is None for step in steps):
        return None
    parts, start = [], 0
    for step in steps:
        n = step.hidden.shape[0]
        every = torch.arange(n, device=step.hidden.device) if step.keep is None else step.keep.index
        parts.append(every + start if start else every)
        start += n
    return torch.cat(parts)


def _signed(cos: Tensor, sin: Tensor) -> Tensor:
    """Llama's angles [1, n, size] -> [n, 2, 1, size], ready for `_rotate`."""
    half = sin.shape[-1] // 2
    return torch.stack((cos[0], torch.cat((-sin[0, :, :half], sin[0, :, half:]), dim=-1)), dim=1)[:, :, None]


def _before(layer: Any, hidden: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """[n, hidden] -> normed [n, hidden], keys and values [n, key heads, size]."""
    normed = _norm(layer.input_layernorm, hidden)
    attention, shape = layer.self_attn, (-1, cos.shape[-1])
    keys = _rotate(attention.k_proj(normed).unflatten(-1, shape), cos, sin)
    return normed, keys, attention.v_proj(normed).unflatten(-1, shape)


def _queries(layer: Any, normed: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """[n, hidden] -> [n, heads, size]."""
    return _rotate(layer.self_attn.q_proj(normed).unflatten(-1, (-1, cos.shape[-1])), cos, sin)


def _after(layer: Any, hidden: Tensor, attended: Tensor) -> Tensor:
    """What attention gave, projected, and the MLP: [n, hidden]."""
    hidden = hidden + layer.self_attn.o_proj(attended)
    return hidden + layer.mlp(_norm(layer.post_attention_layernorm, hidden))  # type: ignore[no-any-return]


def _norm(norm: Any, hidden: Tensor) -> Tensor:
    """`LlamaRMSNorm` in one call."""
    return rms_norm(hidden, hidden.shape[-1:], norm.weight, norm.variance_epsilon)


def _rotate(tensor: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Llama's rotary embedding of [n, heads, size]; the signs of its ``rotate_half`` are in ``sin``."""
    return tensor * cos + tensor.roll(tensor.shape[-1] // 2, -1) * sin
