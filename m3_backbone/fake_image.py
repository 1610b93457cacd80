"""An encoded image of the fake engine: mean colours of patches instead of projected features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from m3_backbone.fake_words import stable_hash, text_tokens, token_id
from m3_backbone.scales import Ladder
from m3_backbone.types import Float32, RouteInputs

_WIDTH = 4  # of the grid: mean red, green, blue and contrast of a patch
_QUESTION_WIDTH = 8


@dataclass(frozen=True, eq=False)
class FakeImage:
    """grid: float32 [G, G, 4], mean colours and contrast of each patch of the squeezed image."""

    ladder: Ladder
    size: tuple[int, int]
    views: int
    content_hash: str
    grid: Float32
    owner: str

    @classmethod
    def of(
        cls, pixels: Image.Image, content_hash: str, *, ladder: Ladder, views: int, owner: str
    ) -> FakeImage:
        """``pixels``: RGB."""
        side = ladder.grid_side
        small = pixels.resize((4 * side, 4 * side), Image.Resampling.BOX)
        patches = np.asarray(small, np.float32).reshape(side, 4, side, 4, 3) / 255
        contrast = patches.mean(axis=-1).std(axis=(1, 3))
        grid = np.concatenate((patches.mean(axis=(1, 3)), contrast[..., None]), axis=-1)
        return cls(ladder, pixels.size, views, content_hash, grid, owner)

    @property
    def nbytes(self) -> int:
        return self.grid.nbytes

    def n_tokens(self, scale: int) -> int:
        return self.views * self.ladder.validate(scale)

    def tokens(self, scale: int) -> Float32:
        """[n_tokens(scale), 4], row-major; every view shows the whole picture."""
        side, factor = self.ladder.side(scale), self.ladder.factor(scale)
        pooled = self.grid.reshape(side, factor, side, factor, _WIDTH).mean(axis=(1, 3))
        return np.tile(pooled.reshape(scale, _WIDTH), (self.views, 1)).astype(np.float32)

    def summarise(self, turns: Sequence[str]) -> RouteInputs:
        """Route inputs of the picture and the last of ``turns``."""
        question = turns[-1]
        pooled = {scale: self.tokens(scale)[:scale] for scale in self.ladder}
        words = np.random.default_rng(stable_hash(question)).standard_normal(_QUESTION_WIDTH)
        stats, stat_names = _grid_stats(self.grid, pooled)
        similarity = [pooled[scale] @ words[:_WIDTH] for scale in self.ladder]
        coarse = [pooled[scale] for scale in self.ladder if scale <= 9]
        return RouteInputs(
            ladder=self.ladder,
            image_size=self.size,
            views=self.views,
            visual_tokens=tuple(self.n_tokens(scale) for scale in self.ladder),
            text_tokens=text_tokens(turns),
            grid_stats=_half(stats),
            grid_stat_names=stat_names,
            pooled=_half(np.concatenate([*coarse, np.zeros((0, _WIDTH))])),
            question=_half(words),
            question_tokens=np.array([token_id(word) for word in question.split()], np.int32),
            interaction=_half(np.array([values.max() for values in similarity])),
            interaction_names=tuple(f"similarity_max_{scale}" for scale in self.ladder),
            question_text=question,
        )


def _grid_stats(grid: Float32, pooled: Mapping[int, Float32]) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """What each pooling step loses, as a share of the grid's energy, and how busy the grid is."""
    energy = float(np.square(grid - grid.mean(axis=(0, 1))).mean()) + 1e-12
    means = {scale: float(np.square(tokens - tokens.mean(axis=0)).mean()) for scale, tokens in pooled.items()}
    stats = {f"lost_{small}": (means[large] - means[small]) / energy for small, large in pairwise(means)}
    stats |= {
        f"norm_{scale}": float(np.linalg.norm(tokens, axis=1).mean()) for scale, tokens in pooled.items()
    }
    stats["energy"] = float(np.log(energy))
    stats["gradient_x"] = float(np.abs(np.diff(grid, axis=1)).mean()) if len(grid) > 1 else 0.0
    stats["gradient_y"] = float(np.abs(np.diff(grid, axis=0)).mean()) if len(grid) > 1 else 0.0
    return np.array(list(stats.values())), tuple(stats)


def _half(values: NDArray[Any]) -> Float32:
    """float32 whose values are float16's."""
    return values.astype(np.float16).astype(np.float32)
