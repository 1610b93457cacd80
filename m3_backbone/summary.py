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
    by_scale = {scale: average(centred, ladder.side(scale)).flatten(0, 1) for scale in ladder}
    tokens = torch.cat(tuple(by_scale.values())) + mean  # [V, hidden]
    norms = tokens.norm(dim=-1)
    unit = tokens / norms.clamp_min(_TINY)[:, None]
    straight = torch.stack([part.mean(dim=0) for part in unit.split(ladder.scales)]).norm(dim=-1)
    projection = _projection(grid.shape[-1], POOLED_WIDTH, _SEED).to(grid.device)
    coarse = [scale for scale in ladder if scale <= COARSE]
    fine = [scale for scale in ladder if COARSE < scale <= FINE][-1:]
    handed_on = torch.cat([tokens[:0], *(by_scale[scale] + mean for scale in (*coarse, *fine))]) @ projection
    lost = [_lost(squares, by_scale[scale], ladder.side(scale)) for scale in ladder if scale != ladder.full]
    parts = (_grid_values(centred, mean, squares, by_scale), straight, handed_on.flatten(), norms, *lost)
    sizes = np.cumsum([part.numel() for part in parts])[:-1]
    values, aligned, pooled, lengths, *cells = np.split(torch.cat(parts).cpu().numpy(), sizes)
    energy, root = max(float(values[0]), _TINY), math.sqrt(grid.shape[-1])
    stats: list[float] = []
    for i, (scale, norm) in enumerate(zip(ladder, _by_scale(lengths, ladder), strict=True)):
        if scale != ladder.full:
            stats += _cell_stats(cells[i] / energy)
        stats += [norm.mean() / root, norm.std() / root, 1 - aligned[i]]
    across, down = values[2:4] / (2 * energy)  # over the expected squared step between two unrelated patches
    stats += [math.log(values[0] + _TINY), values[1] / root, across, down, values[4]]
    small, large = np.split(_half(pooled.reshape(-1, POOLED_WIDTH)), [sum(coarse)])
    return ImageSummary(stats=_half(stats), pooled=small, fine=large, lengths=np.maximum(lengths, _TINY))


def _lost(squares: Tensor, pooled: Tensor, side: int) -> Tensor:
    """[side * side]: energy that pooling takes from each cell. squares: [G, G], energy of each patch."""
    return average(squares[..., None], side).flatten() - pooled.square().sum(dim=-1)


def _cell_stats(lost: NDArray[Any]) -> list[float]:
    """lost: energy that each cell loses, in units of the grid's mean energy per patch."""
    cells = np.sort(lost.clip(min=0))
    n = len(cells)
    share = cells / max(cells.sum(), _TINY)
    entropy = -(share * np.log(share.clip(min=_TINY))).sum() / math.log(n) if n > 1 else 1.0
    return [cells.mean(), cells[n // 2], cells[(9 * n) // 10], cells[-1], entropy]


def _grid_values(centred: Tensor, mean: Tensor, squares: Tensor, by_scale: Mapping[int, Tensor]) -> Tensor:
    """[5]: energy, norm of the mean token, squared steps across and down, effective rank."""
    below = [scale for scale in by_scale if scale <= _RANK_SCALE]
    rank = squares.new_zeros(())
    if below:
        rows = by_scale[below[-1]]
        gram = rows @ rows.T
        rank = gram.diagonal().sum().square() / gram.square().sum().clamp_min(_TINY)
    across = (centred[:, 1:] - centred[:, :-1]).square().sum(dim=-1).mean()
    down = (centred[1:] - centred[:-1]).square().sum(dim=-1).mean()
    return torch.stack((squares.mean(), mean.norm(), across, down, rank))


def _by_scale(values: NDArray[Any], ladder: Ladder) -> list[NDArray[Any]]:
    """``values`` [..., V], V the tokens of all scales of one view, scale by scale."""
    return np.split(values, np.cumsum(ladder.scales)[:-1], axis=-1)


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
        values = []
        for part in _by_scale(similarity, ladder):  # [T, scale]
            best = part.max(axis=1)
            values += [best.max(), best.mean(), part.mean(axis=0).std()]
        interaction = _half(values)
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
    finite = np.nan_to_num(np.asarray(values, np.float32), nan=0.0).clip(-_HALF_MAX, _HALF_MAX)
    return np.asarray(finite.astype(np.float16).astype(np.float32))
