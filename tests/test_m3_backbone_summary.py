from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from m3_backbone.pooling import average
from m3_backbone.scales import Ladder
from m3_backbone.summary import grid_stat_names, summarise_image
from tests.backbones import golden_backbone, picture

LADDER = Ladder((1, 9, 36, 144, 576))


def stats(grid: torch.Tensor) -> dict[str, float]:
    values = summarise_image(grid, LADDER).stats.tolist()
    return dict(zip(grid_stat_names(LADDER), values, strict=True))


def test_everything_is_exact_in_float16_and_named() -> None:
    backbone = golden_backbone("llava-v1.5-7b-m3")
    inputs = backbone.summarise(backbone.encode_image(picture()), "What is this?")
    for array in (inputs.grid_stats, inputs.pooled, inputs.fine, inputs.question, inputs.interaction):
        assert array.dtype == np.float32
        assert np.isfinite(array).all()
        np.testing.assert_array_equal(array, array.astype(np.float16).astype(np.float32))
    assert inputs.grid_stats.shape == (len(inputs.grid_stat_names),)
    assert inputs.interaction.shape == (len(inputs.interaction_names),)
    assert len(set(inputs.grid_stat_names)) == len(inputs.grid_stat_names)
    assert inputs.pooled.shape == (10, 16)
    assert inputs.fine.shape == (36, 16)
    assert inputs.question.shape == (32,)
    assert inputs.visual_tokens == (1, 9, 36, 144, 576)
    assert inputs.question_tokens.tolist() == backbone.tokenizer.encode("What is this?")
    assert inputs.text_tokens == backbone.prompt(["What is this?"], 1).text_tokens


def test_means_of_the_finer_tokens_are_the_coarser_ones() -> None:
    grid = torch.from_numpy(np.random.default_rng(2).standard_normal((24, 24, 8)).astype(np.float32))
    summary = summarise_image(grid, LADDER)
    means = summary.fine.reshape(3, 2, 3, 2, 16).mean(axis=(1, 3)).reshape(9, 16)
    np.testing.assert_allclose(means, summary.pooled[1:], atol=2e-3)


def test_the_finer_tokens_are_those_of_one_scale_and_may_be_missing() -> None:
    grid = torch.ones(24, 24, 8)
    for scales, coarse, fine in (((1, 4, 16, 36, 576), 5, 36), ((1, 9, 144, 576), 10, 0), ((16, 576), 0, 16)):
        summary = summarise_image(grid, Ladder(scales))
        assert (summary.pooled.shape, summary.fine.shape) == ((coarse, 16), (fine, 16))


def test_what_pooling_loses_is_the_energy_of_the_residual() -> None:
    grid = torch.from_numpy(np.random.default_rng(1).standard_normal((24, 24, 8)).astype(np.float32)) + 3
    found = stats(grid)
    energy = (grid - grid.mean(dim=(0, 1))).square().sum()
    for scale in (1, 9, 36, 144):
        step = LADDER.factor(scale)
        upsampled = average(grid, LADDER.side(scale)).repeat_interleave(step, 0).repeat_interleave(step, 1)
        expected = float((grid - upsampled).square().sum() / energy)
        assert abs(found[f"lost_{scale}"] - expected) < 2e-3


def test_a_picture_made_of_coarse_cells_loses_nothing_from_its_own_scale_on() -> None:
    cells = torch.from_numpy(np.random.default_rng(2).standard_normal((6, 6, 8)).astype(np.float32))
    found = stats(cells.repeat_interleave(4, 0).repeat_interleave(4, 1))
    assert found["lost_144"] < 1e-3
    assert found["lost_36"] < 1e-3
    assert found["lost_9"] > 0.3
    assert found["lost_1"] > 0.99


def test_one_detail_is_told_from_detail_everywhere() -> None:
    noise = torch.from_numpy(np.random.default_rng(3).standard_normal((24, 24, 8)).astype(np.float32))
    one = torch.zeros_like(noise)
    one[3, 3] = 1
    assert stats(one)["lost_max_36"] > 10 * stats(noise)["lost_max_36"]
    assert stats(one)["lost_entropy_36"] < 0.1 < 0.9 < stats(noise)["lost_entropy_36"]


def test_an_even_grid_and_an_empty_question_give_finite_numbers() -> None:
    assert np.isfinite(summarise_image(torch.zeros(24, 24, 8), LADDER).stats).all()
    assert np.isfinite(summarise_image(torch.full((24, 24, 8), 7.0), LADDER).stats).all()
    backbone = golden_backbone("llava-v1.5-7b-m3")
    inputs = backbone.summarise(backbone.encode_image(picture()), "")
    assert not inputs.question.any()
    assert not inputs.interaction.any()


def test_the_images_part_is_computed_once() -> None:
    backbone = golden_backbone("llava-v1.5-7b-m3")
    image = backbone.encode_image(picture())
    first, second = (backbone.summarise(image, text) for text in ("one", "two"))
    assert first.grid_stats is second.grid_stats
    assert first.question.tolist() != second.question.tolist()


def test_with_anyres_views_the_whole_image_is_described_and_costs_are_its_own() -> None:
    backbone = golden_backbone("llava-next-vicuna-7b-m3")
    image = backbone.encode_image(picture(size=(640, 200)))
    inputs = backbone.summarise(image, "What is this?")
    assert inputs.views == 3
    assert inputs.visual_tokens == (4, 16, 88, 344, 1360)
    assert inputs.image_size == (640, 200)
    expected = summarise_image(image.grid[0], backbone.ladder)
    np.testing.assert_array_equal(inputs.grid_stats, expected.stats)


@pytest.mark.parametrize("scales", [(1, 9, 36, 144, 576), (4, 9, 36), (49,), (1, 49)])
def test_statistics_are_those_of_a_plain_reckoning(scales: tuple[int, ...]) -> None:
    ladder = Ladder(scales)
    size = ladder.side(ladder.full)
    grid = np.random.default_rng(5).standard_normal((size, size, 8)).cumsum(axis=0) + 2
    centred = grid - grid.mean(axis=(0, 1))
    energy = (centred**2).sum(axis=-1).mean()
    wanted = {
        "energy": np.log(energy),
        "mean_norm": np.linalg.norm(grid.mean(axis=(0, 1))) / 8**0.5,
        "gradient_x": (np.diff(grid, axis=1) ** 2).sum(axis=-1).mean() / (2 * energy),
        "gradient_y": (np.diff(grid, axis=0) ** 2).sum(axis=-1).mean() / (2 * energy),
    }
    for scale in ladder:
        tokens, cells = _cells(grid, scale), _cells(centred, scale)
        norms = np.linalg.norm(tokens, axis=1)
        wanted[f"norm_{scale}"] = norms.mean() / 8**0.5
        wanted[f"norm_std_{scale}"] = norms.std() / 8**0.5
        wanted[f"spread_{scale}"] = 1 - np.linalg.norm((tokens / norms[:, None]).mean(axis=0))
        if scale <= 64:
            gram = cells @ cells.T
            wanted["rank"] = np.trace(gram) ** 2 / max((gram**2).sum(), 1e-12)
        if scale == ladder.full:
            continue
        inside = _cells((centred**2).sum(axis=-1, keepdims=True), scale)[:, 0]
        lost = np.sort(inside - (cells**2).sum(axis=-1)) / energy
        share = lost / lost.sum()
        wanted[f"lost_{scale}"] = lost.mean()
        wanted[f"lost_median_{scale}"] = lost[scale // 2]
        wanted[f"lost_q90_{scale}"] = lost[9 * scale // 10]
        wanted[f"lost_max_{scale}"] = lost[-1]
        wanted[f"lost_entropy_{scale}"] = -(share * np.log(share)).sum() / np.log(scale) if scale > 1 else 1.0
    found = summarise_image(torch.from_numpy(grid), ladder).stats.tolist()
    for name, value in zip(grid_stat_names(ladder), found, strict=True):
        assert value == pytest.approx(wanted[name], rel=2e-3, abs=1e-3), name


def _cells(grid: NDArray[np.float64], scale: int) -> NDArray[np.float64]:
    """[scale, C]: means of the cells of a grid [G, G, C]."""
    side = math.isqrt(scale)
    step = len(grid) // side
    means: NDArray[np.float64] = grid.reshape(side, step, side, step, -1).mean(axis=(1, 3))
    return means.reshape(scale, -1)
