"""Llama's forward for training on blocks behind a prefix (see `sequences`), and the pooled prefix itself.

Uses the weights of transformers' LlamaForCausalLM and computes the same function; attention is split: the
prefix attends causally to itself, block tokens attend to the whole prefix and to their own block.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from m3_backbone.modules import M3Modules
from training.backbone.kernels import Kernels
from training.backbone.recipe import GRID
from training.backbone.sequences import Batch

_BLOCK = 144  # queries at a time: their scores stay in cache, 2.6 times faster than the fused kernel at 576


def pool(grid: Tensor, scale: int) -> Tensor:
    """[B, 576, hidden] -> [B, scale, hidden]: M3's average pooling, row-major."""
    if scale == GRID * GRID:
        return grid
    side = round(scale**0.5)
    factor = GRID // side
    return grid.view(len(grid), side, factor, side, factor, -1).mean((2, 4)).flatten(1, 2)


class Decoder:
    """``modules.language_model`` as a function of prefix embeddings and a batch of blocks, in its dtype."""

    def __init__(self, modules: M3Modules, kernels: Kernels, context: int) -> None:
        self._model: Any = modules.language_model
        self._kernels = kernels
        config = self._model.config
        self._heads = int(config.num_attention_heads)
        self._size = int(config.hidden_size) // self._heads
        base = float(config.rope_parameters["rope_theta"])
        inverse = 1.0 / base ** (torch.arange(0, self._size, 2, dtype=torch.float32) / self._size)
        angles = torch.arange(context, dtype=torch.float32)[:, None] * inverse
        self._cos = torch.cat((angles, angles), 1).cos().to(self.words.dtype)
        self._sin = torch.cat((angles, angles), 1).sin().to(self.words.dtype)

    @property
    def words(self) -> Tensor:
        """[vocabulary, hidden]: the word embeddings."""
        return cast(Tensor, self._model.model.embed_tokens.weight)

    def embed(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self._model.model.embed_tokens.weight)

    def prefix(self, opening: tuple[int, ...], visual: Tensor) -> Tensor:
        """[B, n, hidden] -> [B, len(opening) + n, hidden]."""
        words = self.embed(torch.tensor(opening)).expand(len(visual), -1, -1)
        return torch.cat((words, visual), 1)

    def logits(self, prefix: Tensor, batch: Batch) -> Tensor:
        """float32 [A, vocabulary]: for every scored token of the batch."""
        head = prefix.shape[1]
        hidden = torch.cat((prefix, self.embed(batch.ids)), 1)
        positions = torch.cat((torch.arange(head).expand(len(prefix), -1), batch.offsets + head), 1)
        cos, sin = self._cos[positions].unsqueeze(2), self._sin[positions].unsqueeze(2)
        mask = F.pad(batch.mask, (head, 0))
        causal = torch.full((1, 1, head, head), -torch.inf).triu(1)
        layers = self._model.model.layers
        for layer in layers[:-1]:
            hidden = self._layer(layer, hidden, head, cos, sin, mask, causal, whole=True)
        blocks = self._layer(layers[-1], hidden, head, cos, sin, mask, causal, whole=False)
        scored = blocks.reshape(-1, blocks.shape[-1])[batch.at]
        made: Tensor = self._model.lm_head(self._norm(scored, self._model.model.norm))
        return made.float()

    def _norm(self, hidden: Tensor, norm: Any) -> Tensor:
        return self._kernels.rms_norm(hidden, norm.weight, norm.variance_epsilon)

    def _layer(
        self,
        layer: Any,
        hidden: Tensor,
        head: int,
        cos: Tensor,
        sin: Tensor,
        mask: Tensor,
        causal: Tensor,
        *,
        whole: bool,
    ) -> Tensor:
        """One decoder layer; ``whole=False`` (the last one) returns the block tokens only."""
        attention = layer.self_attn
        kernels = self._kernels
        normed = self._norm(hidden, layer.input_layernorm)
        shape = (*hidden.shape[:2], self._heads, self._size)
        q = kernels.rotate(attention.q_proj(normed).view(shape), cos, sin).transpose(1, 2)
        k = kernels.rotate(attention.k_proj(normed).view(shape), cos, sin).transpose(1, 2)
        v = attention.v_proj(normed).view(shape).transpose(1, 2)
        mixed = self._matrix_attention(q[:, :, head:], k, v, mask)
        if whole:
            front = []
            for start in range(0, head, _BLOCK):
                stop = min(start + _BLOCK, head)
                mine = q[:, :, start:stop]
                front.append(
                    self._matrix_attention(
                        mine, k[:, :, :stop], v[:, :, :stop], causal[:, :, start:stop, :stop]
                    )
                )
            mixed = torch.cat((*front, mixed), 2)
        else:
            hidden = hidden[:, head:]
        hidden = hidden + attention.o_proj(mixed.transpose(1, 2).flatten(2))
        normed = self._norm(hidden, layer.post_attention_layernorm)
        inner = kernels.gated(layer.mlp.gate_proj(normed), layer.mlp.up_proj(normed))
        return cast(Tensor, hidden + layer.mlp.down_proj(inner))

    def _matrix_attention(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        scores = torch.matmul(q, k.transpose(-1, -2))
        return torch.matmul(self._kernels.masked_softmax(scores, mask, self._size**-0.5), v)
