"""Grid + question -> `RouteInputs`: what the router sees, from what the backbone has computed anyway.

Statistics are those of the first view, which shows the whole image. "Lost" at a scale is the energy that
average pooling to it takes away, as a share of the grid's energy around its mean token: pooling is an
orthogonal projection, so what a cell loses is its mean squared norm minus the squared norm of its mean.
Everything is rounded through float16, so that a stored outcome table equals what serving sees.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from m3_backbone.pooling import average
from m3_backbone.scales import Ladder
from m3_backbone.types import COARSE, FINE, RouteInputs

if TYPE_CHECKING:
    from m3_backbone.encoded import TorchEncodedImage

POOLED_WIDTH = 16
QUESTION_WIDTH = 32
_RANK_SCALE = 64  # the effective rank is that of the largest scale up to this one
_SEED = 20_240_527  # of the fixed projections; a part of SUMMARY_VERSION
_TINY = 1e-12
_HALF_MAX = 65_504.0

_CELL_STATS = ("lost", "lost_median", "lost_q90", "lost_max", "lost_entropy")
_TOKEN_STATS = ("norm", "norm_std", "spread")
_GRID_STATS = ("energy", "mean_norm", "gradient_x", "gradient_y", "rank")
_INTERACTIONS = ("similarity_max", "similarity_mean", "similarity_std")


@dataclass(frozen=True, slots=True)
class ImageSummary:
    """The image's part of the route inputs: computed once, whatever the number of questions.

    stats float32 [G]; pooled float32 [P, D]; fine float32 [R, D]; lengths float32 [V]: norms of the view's
    tokens of all scales.
    """

    stats: NDArray[np.float32]
    pooled: NDArray[np.float32]
    fine: NDArray[np.float32]
    lengths: NDArray[np.float32]


@lru_cache(maxsize=32)
def grid_stat_names(ladder: Ladder) -> tuple[str, ...]:
    """Names of ``RouteInputs.grid_stats``, in order: ``lost_9``, ``norm_36``, ..."""
    names: list[str] = []
    for scale in ladder:
        stats = _TOKEN_STATS if scale == ladder.full else _CELL_STATS + _TOKEN_STATS
        names += [f"{name}_{scale}" for name in stats]
    return (*names, *_GRID_STATS)


@lru_cache(maxsize=32)
def interaction_names(ladder: Ladder) -> tuple[str, ...]:
    """Names of ``RouteInputs.interaction``, in order."""
    return tuple(f"{name}_{scale}" for scale in ladder for name in _INTERACTIONS)


@torch.inference_mode()
def summarise_image(grid: Tensor, ladder: Ladder) -> ImageSummary:
    """``grid``: projected features of the whole-image view, [G, G, hidden].

    What is as long as the grid is reduced on its device; what is left comes from there in one transfer.
    """
    grid = grid.float()
    mean = grid.mean(dim=(0, 1))
    centred = grid - mean
    squares = centred.square().sum(dim=-1)  # [G, G]
    by_scale = _pooled(centred, ladder)
    below = torch.cat([centred[0, :0], *by_scale.values()])  # [v, hidden]: all scales but the full one
    tokens = below + mean
    norms = torch.cat((tokens.norm(dim=-1), grid.norm(dim=-1).flatten()))
    of_scale = dict(
        zip(ladder, (*torch.split(tokens, list(ladder.scales[:-1])), grid.flatten(0, 1)), strict=True)
    )
    inverse = torch.split(norms.clamp_min(_TINY).reciprocal(), list(ladder))
    directions = torch.stack([one @ part for one, part in zip(inverse, of_scale.values(), strict=True)])
    coarse = [scale for scale in ladder if scale <= COARSE]
    fine = [scale for scale in ladder if COARSE < scale <= FINE][-1:]
    projection = _projection(grid.shape[-1], POOLED_WIDTH, _SEED).to(grid.device)
    handed_on = torch.cat([grid[0, :0], *(of_scale[scale] for scale in (*coarse, *fine))]) @ projection
    parts = (
        _grid_values(centred, mean, squares, by_scale | {ladder.full: centred.flatten(0, 1)}),
        directions.norm(dim=-1),
        handed_on.flatten(),
        norms,
        _pooled_squares(squares, ladder) - below.square().sum(dim=-1),
    )
    ends = np.cumsum([len(part) for part in parts[:-1]])
    values, aligned, pooled, lengths, lost = np.split(torch.cat(parts).cpu().numpy(), ends)
    small, large = np.split(_half(pooled.reshape(-1, POOLED_WIDTH)), [sum(coarse)])
    stats = _half(_grid_stats(values, aligned, lengths, lost, ladder, grid.shape[-1]))
    return ImageSummary(stats=stats, pooled=small, fine=large, lengths=np.maximum(lengths, _TINY))


def _pooled(grid: Tensor, ladder: Ladder) -> dict[int, Tensor]:
    """Scale -> [scale, hidden] for all but the full one, in the ladder's order; each pooled from the next
    larger one that it divides, which is a quarter of the work of pooling the grid again."""
    made = {ladder.side(ladder.full): grid}
    for side in map(ladder.side, reversed(ladder.scales[:-1])):
        made[side] = average(made[min(larger for larger in made if larger % side == 0)], side)
    return {scale: made[ladder.side(scale)].flatten(0, 1) for scale in ladder.scales[:-1]}


def _pooled_squares(squares: Tensor, ladder: Ladder) -> Tensor:
    """[v]: mean energy of the patches of each cell, of all scales but the full one. squares: [G, G]."""
    cells = []
    for side in map(ladder.side, ladder.scales[:-1]):
        step = len(squares) // side
        cells.append(squares.reshape(side, step, side, step).mean(dim=(1, 3)).flatten())
    return torch.cat([squares[0, :0], *cells])


def _grid_values(centred: Tensor, mean: Tensor, squares: Tensor, by_scale: Mapping[int, Tensor]) -> Tensor:
    """[5]: energy, norm of the mean token, squared steps across and down, effective rank."""
    rows = [part for scale, part in by_scale.items() if scale <= _RANK_SCALE][-1:]
    rank = squares.new_zeros(())
    if rows:
        gram = rows[0] @ rows[0].T
        rank = gram.diagonal().sum().square() / gram.square().sum().clamp_min(_TINY)
    across = _squared_step(centred[:, :-1], centred[:, 1:])
    down = _squared_step(centred[:-1], centred[1:])
    return torch.stack((squares.mean(), mean.norm(), across, down, rank))


def _squared_step(at: Tensor, to: Tensor) -> Tensor:
    """[]: mean squared distance between tokens [..., hidden]."""
    step = (to - at).flatten()
    return step @ step / (len(step) // at.shape[-1])


def _grid_stats(
    values: NDArray[Any],
    aligned: NDArray[Any],
    lengths: NDArray[Any],
    lost: NDArray[Any],
    ladder: Ladder,
    width: int,
) -> list[float]:
    """In the order of `grid_stat_names`.

    values: of `_grid_values`. aligned: [S] length of the mean of the tokens' directions. lengths: [V] norms
    of the tokens of all scales. lost: [v] energy that each cell loses, of all scales but the full one.
    width: of a token.
    """
    energy, root = max(float(values[0]), _TINY), math.sqrt(width)
    cells = lost.clip(min=0) / energy
    stats: list[float] = []
    for scale, start, straight in zip(ladder, _starts(ladder).tolist(), aligned.tolist(), strict=True):
        of_scale = slice(start, start + scale)
        if scale != ladder.full:
            stats += _cell_stats(cells[of_scale])
        stats += [*_mean_and_deviation(lengths[of_scale] / root), 1 - straight / scale]
    across, down = values[2:4] / (2 * energy)  # over the expected squared step between two unrelated patches
    return [*stats, math.log(values[0] + _TINY), values[1] / root, across, down, values[4]]


def _cell_stats(lost: NDArray[Any]) -> list[float]:
    """lost: energy that each cell loses, in units of the grid's mean energy per patch, not below 0."""
    cells, n = np.sort(lost), len(lost)
    total = float(cells.sum())
    share = cells / max(total, _TINY)
    entropy = -float(share @ np.log(np.maximum(share, _TINY))) / math.log(n) if n > 1 else 1.0
    return [total / n, cells[n // 2], cells[(9 * n) // 10], cells[-1], entropy]


def _mean_and_deviation(values: NDArray[Any]) -> tuple[float, float]:
    mean = float(values.sum()) / len(values)
    rest = values - mean
    return mean, math.sqrt(float(rest @ rest) / len(values))


@lru_cache(maxsize=32)
def _starts(ladder: Ladder) -> NDArray[np.int64]:
    """[S]: where each scale's tokens begin among those of all scales of one view."""
    return np.cumsum((0, *ladder.scales[:-1]))


@torch.inference_mode()
def summarise(
    image: TorchEncodedImage,
    embeddings: Tensor,
    content: Tensor,
    *,
    question_tokens: Sequence[int],
    question_text: str,
    text_tokens: int,
) -> RouteInputs:
    """Route inputs of one (image, question).

    embeddings: [T, hidden], the question's input embeddings. content: bool [T], tokens that hold a letter
    or digit; only those are compared with the image (all, when there is none).
    text_tokens: prompt tokens that are not visual.
    """
    ladder = image.ladder
    if image.summary is None:
        image.summary = summarise_image(image.grid[0], ladder)
    summary = image.summary
    words = embeddings.float()
    question = np.zeros(QUESTION_WIDTH, np.float32)
    interaction = np.zeros(len(interaction_names(ladder)), np.float32)
    if len(words):
        matrix = _projection(words.shape[-1], QUESTION_WIDTH, _SEED + 1).to(words.device)
        question = _half((words.mean(dim=0) @ matrix).cpu().numpy())
        if bool(content.any()):
            words = words[content]
        unit = words / words.norm(dim=-1, keepdim=True).clamp_min(_TINY)
        tokens = [image.pooled(scale)[0].flatten(0, 1).float() for scale in ladder]
        similarity = torch.cat([unit @ part.T for part in tokens], dim=1).cpu().numpy() / summary.lengths
        best = np.maximum.reduceat(similarity, _starts(ladder), axis=1)  # [T, S]
        means = np.split(similarity.mean(axis=0), _starts(ladder)[1:])
        deviations = [_mean_and_deviation(part)[1] for part in means]
        interaction = _half(np.stack((best.max(axis=0), best.mean(axis=0), deviations), axis=1).ravel())
    return RouteInputs(
        ladder=ladder,
        image_size=image.size,
        views=image.views,
        visual_tokens=tuple(image.n_tokens(scale) for scale in ladder),
        text_tokens=text_tokens,
        grid_stats=summary.stats,
        grid_stat_names=grid_stat_names(ladder),
        pooled=summary.pooled,
        fine=summary.fine,
        question=question,
        question_tokens=np.asarray(question_tokens, np.int32),
        interaction=interaction,
        interaction_names=interaction_names(ladder),
        question_text=question_text,
    )


@lru_cache(maxsize=8)
def _projection(width: int, narrow: int, seed: int) -> Tensor:
    """Fixed random [width, narrow] with nearly orthogonal columns: a vector's components keep their size."""
    numbers = np.random.default_rng(seed).standard_normal((width, narrow)) / math.sqrt(width)
    return torch.from_numpy(numbers.astype(np.float32))


def _half(values: ArrayLike) -> NDArray[np.float32]:
    """float32 whose values are float16's, finite."""
    numbers = np.asarray(values, np.float32)
    finite = np.where(np.isnan(numbers), np.float32(0), np.clip(numbers, -_HALF_MAX, _HALF_MAX))
    return finite.astype(np.float16).astype(np.float32)
