from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from data.scalebench import picture
from m3_backbone.config import M3Config
from m3_backbone.modules import M3Modules
from m3_backbone.preprocess import preprocess
from tests.training_backbone import RECIPE, random_modules
from training.backbone.kernels import Kernels
from training.backbone.pictures import squared
from training.backbone.recipe import GRID, PATCH
from training.backbone.vision import Vision, cut, places


@pytest.fixture(scope="module")
def modules() -> M3Modules:
    return random_modules()


def features(modules: M3Modules, pixels: list[NDArray[np.uint8]]) -> torch.Tensor:
    vision = Vision(modules, RECIPE.conditioning(), Kernels(compiled=False))
    patches = torch.from_numpy(np.stack([cut(image, 0, 0, GRID) for image in pixels]))
    where = torch.from_numpy(places(0, 0, GRID)).expand(len(pixels), -1)
    with torch.no_grad():
        return vision(patches, where).float()


def test_whole_images_get_the_features_that_inference_gets(modules: M3Modules) -> None:
    images = [picture("dev", index).image for index in (0, 1)]
    found = features(modules, [squared(image) for image in images])
    config = M3Config.parse(RECIPE.config())
    views = [preprocess(image, config, RECIPE.conditioning()).pixels for image in images]
    exact = random_modules().float()
    with torch.no_grad():
        expected = exact.patch_features(torch.from_numpy(np.concatenate(views)))
    assert found.shape == expected.shape == (2, GRID * GRID, RECIPE.tower_width)
    error, spread = (found - expected).abs(), float(expected.std())
    assert float(error.mean()) < 0.02 * spread
    assert float((found - expected.roll(1, 0)).abs().mean()) > 3 * float(error.mean())
    assert float((found - expected.roll(1, 1)).abs().mean()) > 1.5 * float(error.mean())


def test_a_crop_holds_its_patches_in_row_major_order() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (GRID * PATCH, GRID * PATCH, 3), dtype=np.uint8)
    crop = cut(pixels, 3, 5, 2)
    assert crop.shape == (4, PATCH * PATCH * 3)
    expected = pixels[4 * PATCH : 5 * PATCH, 5 * PATCH : 6 * PATCH]
    np.testing.assert_array_equal(crop[2].reshape(PATCH, PATCH, 3), expected)
    assert places(3, 5, 2).tolist() == [3 * GRID + 5, 3 * GRID + 6, 4 * GRID + 5, 4 * GRID + 6]


def test_a_crop_of_everything_is_the_whole_and_a_smaller_one_keeps_its_places(modules: M3Modules) -> None:
    pixels = squared(picture("dev", 2).image)
    vision = Vision(modules, RECIPE.conditioning(), Kernels(compiled=False))
    patches = torch.from_numpy(cut(pixels, 8, 4, 8))[None]
    here, elsewhere = (torch.from_numpy(places(*corner, 8))[None] for corner in ((8, 4), (0, 0)))
    with torch.no_grad():
        one, other = vision(patches, here), vision(patches, elsewhere)
    assert one.shape == (1, 64, RECIPE.tower_width)
    assert not torch.equal(one, other)
