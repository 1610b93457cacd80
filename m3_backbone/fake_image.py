"""An encoded image of the fake engine: mean colours of patches instead of projected features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from m3_backbone.fake_words import stable_hash, text_tokens, token_id
from m3_backbone.scales import Ladder
from m3_backbone.types import COARSE, FINE, Float32, RouteInputs

_WIDTH = 4  # of the grid: mean red, green, blue and contrast of a patch
_QUESTION_WIDTH = 8


@dataclass(frozen=True, slots=True)
class _Summary:
    """pooled: scale -> float32 [scale, 4]. stats [G], coarse [P, 4], fine [R, 4]: what the router sees
    of them."""

    pooled: Mapping[int, Float32]
    stats: Float32
    stat_names: tuple[str, ...]
    coarse: Float32
    fine: Float32


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
        """Bytes held once it was summarised: the grid, and one view's tokens at every scale."""
        return self.grid.nbytes + sum(self.ladder) * _WIDTH * self.grid.itemsize

    def n_tokens(self, scale: int) -> int:
        return self.views * self.ladder.validate(scale)

    def tokens(self, scale: int) -> Float32:
        """[n_tokens(scale), 4], row-major; every view shows the whole picture."""
        return np.tile(self._pooled(scale), (self.views, 1))

    def _pooled(self, scale: int) -> Float32:
        """[scale, 4]: the tokens of one view."""
        side, factor = self.ladder.side(scale), self.ladder.factor(scale)
        cells = self.grid.reshape(side, factor, side, factor, _WIDTH)
        pooled: Float32 = cells.mean(axis=(1, 3)).reshape(scale, _WIDTH).astype(np.float32)
        return pooled

    @cached_property
    def _summary(self) -> _Summary:
        """The picture's part of the route inputs: computed once, whatever the number of questions."""
        pooled = {scale: self._pooled(scale) for scale in self.ladder}
        stats, stat_names = _grid_stats(self.grid, pooled)
        coarse = [tokens for scale, tokens in pooled.items() if scale <= COARSE]
        fine = [tokens for scale, tokens in pooled.items() if COARSE < scale <= FINE][-1:]
        return _Summary(
            pooled=pooled,
            stats=_half(stats),
            stat_names=stat_names,
            coarse=_half(np.concatenate([*coarse, np.zeros((0, _WIDTH))])),
            fine=_half(np.concatenate([*fine, np.zeros((0, _WIDTH))])),
        )

    def summarise(self, turns: Sequence[str]) -> RouteInputs:
        """Route inputs of the picture and the last of ``turns``."""
        question, picture = turns[-1], self._summary
        words = np.random.default_rng(stable_hash(question)).standard_normal(_QUESTION_WIDTH)
        similarity = [picture.pooled[scale] @ words[:_WIDTH] for scale in self.ladder]
        return RouteInputs(
            ladder=self.ladder,
            image_size=self.size,
            views=self.views,
            visual_tokens=tuple(self.n_tokens(scale) for scale in self.ladder),
            text_tokens=text_tokens(turns),
            grid_stats=picture.stats,
            grid_stat_names=picture.stat_names,
            pooled=picture.coarse,
            fine=picture.fine,
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
