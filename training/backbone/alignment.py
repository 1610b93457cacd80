"""A second loss that puts words into the visual tokens: each pooled token should point at the embeddings of
the words for what lies under it.

The mean over a cell is mostly background and place; what a question asks for is a small part of it, and
look-ups by content ("what colour is the circle?") are not learned from answers alone. Tied to the
embeddings of the words, the same look-up is a match of equal vectors. Uses the generator's dense labels:
training only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from data.scalebench.vocabulary import COLOURS, KINDS, NUMBERS, SHAPES, WORDS
from training.backbone.recipe import GRID

_SHARPNESS = 0.5
"""Of the logits. Small values make the projector answer with tokens many times as long as a word's embedding,
which the blocks of the language model can hardly change any more."""
_BACKGROUND = 0.2
"""Weight of the background's colour beside an object's words, which weigh 1."""
_NAMED_KINDS = (*SHAPES, "sign", "bar", "slice", "room", "button", "box")


class PatchWords:
    """The word pieces of every patch, from the dense labels.

    encode: one word, as it stands after a space -> token ids.
    """

    def __init__(self, encode: Callable[[str], Sequence[int]], vocabulary: int) -> None:
        self.vocabulary = vocabulary
        self._word = _table(["", *WORDS, *map(str, NUMBERS)], encode)
        self._kind = _table([kind if kind in _NAMED_KINDS else "" for kind in KINDS], encode)
        self._colour = _table(["", *COLOURS], encode)

    def targets(self, labels: Mapping[str, NDArray[np.int16]], images: Sequence[int], scale: int) -> Tensor:
        """float32 [B, scale, vocabulary]: shares of the pieces under each pooled token; rows sum to 1."""
        side = int(scale**0.5)
        batch = len(images)
        rows, columns = np.divmod(np.arange(GRID * GRID), GRID)
        cell = (rows * side // GRID) * side + columns * side // GRID
        flat = (np.arange(batch)[:, None] * scale + cell[None]).reshape(-1)
        found = torch.zeros(batch * scale * self.vocabulary)
        background = torch.zeros_like(found)

        def read(head: str) -> NDArray[np.int64]:
            grids = np.stack([labels[head][image] for image in images])
            return grids.reshape(-1).astype(np.int64)

        for table, head in ((self._word, "word"), (self._kind, "kind"), (self._colour, "colour")):
            _set(found, table[read(head)], flat, self.vocabulary)
        _set(background, self._colour[1 + read("background")], flat, self.vocabulary)
        weights = torch.maximum(found, _BACKGROUND * background).view(batch, scale, self.vocabulary)
        return weights / weights.sum(-1, keepdim=True).clamp_min(1e-6)


def alignment_loss(visual: Tensor, embeddings: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy between each visual token's likeness to the words and the words under it.

    visual: [B, scale, hidden] pooled tokens. embeddings: [vocabulary, hidden]; they learn nothing from this
    loss. targets: as `PatchWords.targets`. Returns a scalar; the least is the targets' entropy.
    """
    logits = F.linear(visual, embeddings.detach()).float() * _SHARPNESS
    return -(targets * logits.log_softmax(-1)).sum(-1).mean()


def hints(embeddings: Tensor, targets: Tensor) -> Tensor:
    """[B, scale, hidden]: the mean embedding of the words under each token, at the size of one word's."""
    mixed = targets.to(embeddings.dtype) @ embeddings
    length = embeddings.detach().float().norm(dim=-1).mean().to(embeddings.dtype)
    made: Tensor = F.normalize(mixed, dim=-1) * length
    return made


def _table(words: Sequence[str], encode: Callable[[str], Sequence[int]]) -> NDArray[np.int64]:
    """[words, longest]: the ids of each word, -1 behind them."""
    ids = [list(encode(word)) if word else [] for word in words]
    longest = max(map(len, ids))
    return np.array([[*one, *[-1] * (longest - len(one))] for one in ids], np.int64)


def _set(found: Tensor, ids: NDArray[np.int64], flat: NDArray[np.int64], vocabulary: int) -> None:
    """Marks the pieces ``ids`` [P, longest] of patches that lie under the tokens ``flat`` [P]."""
    at = (flat[:, None] * vocabulary + ids)[ids >= 0]
    found[torch.from_numpy(np.unique(at))] = 1.0
