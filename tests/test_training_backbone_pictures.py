from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.scalebench import LABELS, picture
from m3_backbone.config import M3Config
from m3_backbone.preprocess import preprocess
from tests.backbones import picture as blocks
from tests.training_backbone import RECIPE
from training.backbone.pictures import PictureStore, render_pictures, squared


@pytest.mark.parametrize("size", [(336, 336), (448, 336), (300, 400), (252, 252), (335, 336), (100, 31)])
def test_squared_is_the_8_bit_part_of_what_inference_does(size: tuple[int, int]) -> None:
    image = blocks(3, size)
    conditioning = RECIPE.conditioning()
    expected = preprocess(image, M3Config.parse(RECIPE.config()), conditioning).pixels[0]
    found = squared(image)
    assert found.shape == (336, 336, 3)
    scaled = (found / 255 - conditioning.mean) / conditioning.std
    np.testing.assert_allclose(scaled.transpose(2, 0, 1), expected, atol=1e-5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures") / "val"
    render_pictures(folder, "backbone-val", 3, RECIPE)
    return folder


def test_a_store_holds_what_the_generator_draws(folder: Path) -> None:
    store = PictureStore.open(folder)
    assert len(store) == 3
    for index in range(3):
        one = picture("backbone-val", index)
        np.testing.assert_array_equal(store.pixels[index], squared(one.image))
        for head in LABELS:
            np.testing.assert_array_equal(store.labels[head][index], one.labels[head])
        asked = [[q.text, q.answer, q.kind] for q in one.questions]
        assert store.texts[index]["questions"] == asked
        assert store.texts[index]["family"] == one.family
        assert store.texts[index]["descriptions"][0][0] == "Describe the picture."


def test_pictures_that_are_there_are_not_drawn_again(folder: Path) -> None:
    before = (folder / "pixels.npy").stat().st_mtime_ns
    render_pictures(folder, "backbone-val", 3, RECIPE)
    assert (folder / "pixels.npy").stat().st_mtime_ns == before


def test_half_drawn_pictures_are_refused_with_the_stage_that_draws_them(tmp_path: Path) -> None:
    (tmp_path / "texts.jsonl").write_text("{}\n", encoding="utf-8")
    with pytest.raises(FileNotFoundError, match="run the stage 'pictures' first"):
        PictureStore.open(tmp_path)


def test_squaring_does_not_touch_a_picture_of_the_right_size() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (336, 336, 3), dtype=np.uint8))
    np.testing.assert_array_equal(squared(image), np.asarray(image))
