"""The next token by temperature and top-p, from a request's own random numbers."""

from __future__ import annotations

import torch
from torch import Tensor


class Sampler:
    """Draws from ``softmax(logits / temperature)`` cut to the smallest set of mass ``top_p``.

    Its generator belongs to one request: with a seed, the draws do not depend on batch-mates.
    """

    def __init__(self, temperature: float, top_p: float, seed: int | None) -> None:
        self.temperature = temperature
        self.top_p = top_p
        self._generator = torch.Generator()
        if seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(seed % 2**63)

    def __call__(self, logits: Tensor) -> int:
        """One id. logits: float32 [vocabulary]."""
        scaled = (logits.cpu() - logits.max().cpu()) / self.temperature
        probabilities, order = scaled.softmax(dim=-1).sort(descending=True, stable=True)
        before = probabilities.cumsum(dim=-1) - probabilities
        probabilities = probabilities.masked_fill(before >= self.top_p, 0.0)
        probabilities[0] = max(float(probabilities[0]), 1e-9)  # top_p of 0 keeps the best one
        return int(order[torch.multinomial(probabilities, 1, generator=self._generator)])
