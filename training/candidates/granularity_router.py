"""The network of `training.candidates.avg_llava` and its loss. Imports torch."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from training.candidates.budget import Setting
from training.candidates.networks import Arrays, Build, Dropout, Standardise

WIDTH = 32
HEADS = 4
DROPOUT = 0.1
MARGIN = 1.0
CROSS_ENTROPY = 0.1


def granularity_router(inputs: Arrays, n_words: int, n_scales: int) -> Build:
    """Builds routers for inputs like ``inputs`` (`avg_llava.router_inputs`); n_words: embeddings, 0 too."""
    visual, question, words, *more = inputs
    dense = [_Dense(values) for values in (visual, question, *more)]
    n_tokens = visual.shape[1] + 1 + words.shape[1] + len(more)

    def build(setting: Setting) -> nn.Module:
        return GranularityRouter(dense, n_words, n_tokens, n_scales)

    return build


class _Dense:
    """How a dense input becomes tokens: standardised (once, for all fits), then projected."""

    def __init__(self, values: NDArray[Any]) -> None:
        self.standardise = Standardise.of(values)
        self.width = values.shape[-1]

    def projection(self) -> nn.Module:
        return nn.Sequential(self.standardise, nn.Linear(self.width, WIDTH))


class GranularityRouter(nn.Module):
    """Visual tokens [n, P, D], question [n, E], words [n, L] and more [n, F] -> logits [n, S]."""

    def __init__(self, dense: list[_Dense], n_words: int, n_tokens: int, n_scales: int) -> None:
        super().__init__()
        self.dense = nn.ModuleList(each.projection() for each in dense)
        self.words = nn.Embedding(n_words, WIDTH, padding_idx=0)
        self.dropout = Dropout(DROPOUT)
        self.attention = nn.ModuleDict({"in": nn.Linear(WIDTH, 3 * WIDTH), "out": nn.Linear(WIDTH, WIDTH)})
        self.feed_forward = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
        self.norms = nn.ModuleList([nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)])
        self.mlp = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, n_scales))
        self.voter = nn.Parameter(torch.randn(n_tokens) / n_tokens**0.5)
        self.norm = nn.LayerNorm(n_scales)

    def forward(self, visual: Tensor, question: Tensor, words: Tensor, *more: Tensor) -> Tensor:
        words = words[:, : max(1, int((words > 0).sum(dim=1).max()))]  # beyond the longest there are none
        single = [question[:, None], *(values[:, None] for values in more)]
        tokens = [project(values) for project, values in zip(self.dense, (visual, *single), strict=True)]
        x = self.dropout(torch.cat([*tokens, self.words(words)], dim=1))  # [n, T, width]
        n, length, _ = x.shape
        there = torch.ones((n, length), dtype=torch.bool)
        there[:, length - words.shape[1] :] = words > 0
        q, k, v = self.attention["in"](x).view(n, length, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=there[:, None, None])
        x = self.norms[0](x + self.attention["out"](mixed.transpose(1, 2).reshape(n, length, -1)))
        x = self.norms[1](x + self.feed_forward(x))
        votes = self.mlp(x) * there[:, :, None]  # [n, T, S]
        logits: Tensor = self.norm(torch.einsum("nts,t->ns", votes, self.voter[:length]))
        return logits


def ranking_loss(logits: Tensor, losses: Tensor) -> Tensor:
    """RGLF's loss [n] for logits and the answer's losses, both [n, S].

    Of every two scales j ranks apart, the better one's log-probability is to be above the other's by the
    margin x j x the difference of their losses. Of equal losses the smaller scale's is the better.
    """
    ordered, rank = losses.sort(dim=1, stable=True)
    log_p = functional.log_softmax(logits, dim=1).gather(1, rank)
    total = -CROSS_ENTROPY * log_p[:, 0]
    for j in range(1, losses.shape[1]):
        wanted = MARGIN * j * (ordered[:, j:] - ordered[:, :-j])
        total = total + (log_p[:, j:] - log_p[:, :-j] + wanted).clamp(min=0).mean(dim=1)
    return total
