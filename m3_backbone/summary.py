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
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from m3_backbone.pooling import average
from m3_backbone.scales import Ladder
from m3_backbone.types import RouteInputs

if TYPE_CHECKING:
    from m3_backbone.encoded import TorchEncodedImage

POOLED_WIDTH = 16
QUESTION_WIDTH = 32
_POOLED_SCALES = 9  # pooled tokens of every scale up to this one are handed on
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

    stats float32 [G]; pooled float32 [P, D]; lengths: per scale, the norms of the view's tokens, float32.
    """

    stats: NDArray[np.float32]
    pooled: NDArray[np.float32]
    lengths: tuple[NDArray[np.float32], ...]


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
    """``grid``: projected features of the whole-image view, [G, G, hidden]."""
    grid = grid.float()
    mean = grid.mean(dim=(0, 1))
    centred = grid - mean
    squares = centred.square().sum(dim=-1)  # [G, G]
    energy = float(squares.mean())
    scaled = squares / max(energy, _TINY)
    values: list[Tensor] = []
    lengths, projected = [], []
    centred_by_scale: dict[int, Tensor] = {}
    for scale in ladder:
        side = ladder.side(scale)
        pooled = average(centred, side)  # [s, s, hidden]
        centred_by_scale[scale] = pooled
        if scale != ladder.full:
            kept = pooled.square().sum(dim=-1) / max(energy, _TINY)
            values += _cell_stats(average(scaled[..., None], side)[..., 0] - kept)
        flat = (pooled + mean).flatten(0, 1)
        if scale <= _POOLED_SCALES:
            projected.append(flat)
        norms = flat.norm(dim=-1)
        unit = flat / norms.clamp_min(_TINY)[:, None]
        lengths.append(norms.clamp_min(_TINY).cpu().numpy())
        deviation = norms.std(correction=0) if scale > 1 else torch.zeros(())
        root = math.sqrt(grid.shape[-1])
        values += [norms.mean() / root, deviation / root, 1 - unit.mean(dim=0).norm()]
    values += _grid_stats(centred, mean, energy, centred_by_scale)
    matrix = _projection(grid.shape[-1], POOLED_WIDTH, _SEED).to(grid.device)
    return ImageSummary(
        stats=_half(torch.stack([value.cpu() for value in values])),
        pooled=_half(torch.cat(projected) @ matrix if projected else grid.new_zeros(0, POOLED_WIDTH)),
        lengths=tuple(lengths),
    )


@torch.inference_mode()
def pooled_tokens(grid: Tensor, ladder: Ladder, scale: int) -> NDArray[np.float32]:
    """The whole-image view at ``scale``, projected as ``RouteInputs.pooled`` is: [scale, D], row-major.

    ``grid``: [G, G, hidden]. Averaged further, it is what ``RouteInputs.pooled`` holds of smaller scales.
    """
    grid = grid.float()
    mean = grid.mean(dim=(0, 1))
    flat = (average(grid - mean, ladder.side(scale)) + mean).flatten(0, 1)
    return _half(flat @ _projection(grid.shape[-1], POOLED_WIDTH, _SEED).to(grid.device))


def _cell_stats(lost: Tensor) -> list[Tensor]:
    """lost [s, s]: energy that each cell loses, in units of the grid's mean energy per patch."""
    flat = lost.flatten().clamp_min(0).sort().values
    n = flat.shape[0]
    share = flat / flat.sum().clamp_min(_TINY)
    entropy = -(share * share.clamp_min(_TINY).log()).sum() / math.log(n) if n > 1 else torch.ones(())
    return [flat.mean(), flat[n // 2], flat[(9 * n) // 10], flat[-1], entropy]


def _grid_stats(centred: Tensor, mean: Tensor, energy: float, by_scale: Mapping[int, Tensor]) -> list[Tensor]:
    below = [scale for scale in by_scale if scale <= _RANK_SCALE]
    rank = torch.zeros(())
    if below:
        rows = by_scale[below[-1]].flatten(0, 1)
        gram = rows @ rows.T
        rank = gram.diagonal().sum().square() / gram.square().sum().clamp_min(_TINY)
    double = 2 * max(energy, _TINY)  # the expected squared step between two unrelated patches
    across = (centred[:, 1:] - centred[:, :-1]).square().sum(dim=-1).mean() / double
    down = (centred[1:] - centred[:-1]).square().sum(dim=-1).mean() / double
    root = math.sqrt(centred.shape[-1])
    return [torch.tensor(math.log(energy + _TINY)), mean.norm() / root, across, down, rank]


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
        question = _half(words.mean(dim=0) @ matrix)
        if bool(content.any()):
            words = words[content]
        unit = words / words.norm(dim=-1, keepdim=True).clamp_min(_TINY)
        values = []
        for scale, lengths in zip(ladder, summary.lengths, strict=True):
            tokens = image.pooled(scale)[0].flatten(0, 1).float()
            similarity = (unit @ tokens.T).cpu().numpy() / lengths  # [T, scale]
            best = similarity.max(axis=1)
            values += [best.max(), best.mean(), similarity.mean(axis=0).std()]
        interaction = _half(torch.from_numpy(np.asarray(values, np.float32)))
    return RouteInputs(
        ladder=ladder,
        image_size=image.size,
        views=image.views,
        visual_tokens=tuple(image.n_tokens(scale) for scale in ladder),
        text_tokens=text_tokens,
        grid_stats=summary.stats,
        grid_stat_names=grid_stat_names(ladder),
        pooled=summary.pooled,
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


def _half(tensor: Tensor) -> NDArray[np.float32]:
    """float32 whose values are float16's, finite."""
    values = tensor.float().nan_to_num(0.0).clamp(-_HALF_MAX, _HALF_MAX).cpu().numpy()
    return np.asarray(values.astype(np.float16).astype(np.float32))
