"""The network of `training.candidates.attention` in torch, and its loss. Shapes as there."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from router.features import Float32
from training.candidates.attention import LIMIT, Columns, Sizes
from training.candidates.budget import Setting
from training.candidates.networks import Build, Dropout, Loss, Standardise


class AttentionModule(nn.Module):
    """features [n, F] -> logits [n, C]. Fields as in `training.candidates.attention.Attention`."""

    def __init__(
        self, standardise: Standardise, columns: Columns, sizes: Sizes, n_outputs: int, dropout: float
    ) -> None:
        super().__init__()
        self._pooled, self._heads = columns.pooled, sizes.heads
        self._tokens = torch.from_numpy(columns.tokens)  # no buffers: they are not fitted
        self._question, self._rest = torch.from_numpy(columns.question), torch.from_numpy(columns.rest)
        places, depth = columns.pooled
        width, hidden = sizes.width, sizes.hidden
        self.standardise = standardise
        self.token = nn.Linear(depth, width) if depth else None
        self.place = nn.Parameter(0.1 * torch.randn(places, width))
        self.question = nn.Linear(len(columns.question), width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.hidden = nn.Linear(3 * width + len(columns.rest), hidden)
        self.deeper = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, n_outputs)
        self.drop = Dropout(dropout)

    def forward(self, features: Tensor) -> Tensor:
        n, heads = len(features), self._heads
        each = self.query.out_features // heads
        z = self.standardise(features).clamp(-LIMIT, LIMIT)
        grid = z[:, self._tokens].reshape(n, *self._pooled)
        placed = self.place.expand(n, -1, -1) if self.token is None else self.token(grid) + self.place
        tokens = torch.relu(placed)  # [n, P, H]
        question = self.drop(torch.relu(self.question(z[:, self._question])))  # [n, H]
        query = self.query(question).reshape(n, 1, heads, each).transpose(1, 2)  # [n, h, 1, H / h]
        key = self.key(tokens).reshape(n, -1, heads, each).permute(0, 2, 3, 1)  # [n, h, H / h, P]
        value = self.value(tokens).reshape(n, -1, heads, each).transpose(1, 2)  # [n, h, P, H / h]
        match = torch.softmax(query @ key * each**-0.5, dim=-1)
        read = self.drop((match @ value).reshape(n, -1))  # [n, H]
        joined = torch.cat([read, question, read * question, z[:, self._rest]], dim=1)
        hidden = self.drop(torch.relu(self.hidden(joined)))
        logits: Tensor = self.out(self.drop(hidden + torch.relu(self.deeper(hidden))))
        return logits


def builder(features: Float32, columns: Columns, sizes: Sizes, n_outputs: int, dropout: float) -> Build:
    """What makes modules; all of them standardise as ``features`` [n, F] need it."""
    fitted = Standardise.of(features)
    mean, factor = fitted.get_buffer("mean").clone(), fitted.get_buffer("factor").clone()
    mean[columns.words], factor[columns.words] = 0.0, 1.0

    def build(setting: Setting) -> nn.Module:
        standardise = Standardise(mean.clone(), factor.clone())  # modules that fit side by side share nothing
        return AttentionModule(standardise, columns, sizes, n_outputs, dropout)

    return build


def answer_loss(weight: float) -> Loss:
    """Cross-entropy of the first columns with the labels, plus ``weight`` times that of the others with the
    answers' probabilities; means over columns, [n]."""

    def loss(outputs: Tensor, labels: Tensor, answers: Tensor) -> Tensor:
        n_columns = labels.shape[1]
        first = binary_cross_entropy_with_logits(outputs[:, :n_columns], labels, reduction="none")
        second = binary_cross_entropy_with_logits(outputs[:, n_columns:], answers, reduction="none")
        return first.mean(dim=1) + weight * second.mean(dim=1)

    return loss
