"""Which blocks a step gets."""

from __future__ import annotations

import pytest

from tests.training_backbone import RECIPE, recipe, tokenizer
from training.backbone.lessons import Lessons
from training.backbone.pictures import PictureStore, render_pictures
from training.backbone.sequences import DESCRIPTION, Block, Blocks


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> PictureStore:
    folder = tmp_path_factory.mktemp("pictures")
    render_pictures(folder, "backbone-train", 12, RECIPE)
    return PictureStore.open(folder)


@pytest.fixture(scope="module")
def blocks() -> Blocks:
    return Blocks(tokenizer())


def test_every_picture_comes_once_before_any_comes_again(store: PictureStore, blocks: Blocks) -> None:
    lessons = Lessons(store, blocks, recipe(step_images=4), 1)
    seen = [index for _ in range(6) for index in lessons.draw()[0]]
    assert sorted(seen[:12]) == sorted(seen[12:]) == list(range(12))
    assert seen[:12] != seen[12:]


def test_a_picture_gets_as_many_blocks_of_each_sort_as_the_recipe_says(
    store: PictureStore, blocks: Blocks
) -> None:
    lessons = Lessons(store, blocks, recipe(questions=2, look_ups=3, descriptions=1, block_tokens=10_000), 1)
    for index, drawn in zip(*lessons.draw(), strict=True):
        text = store.texts[index]
        look_ups = {blocks.block(key, value) for key, value in text["look_ups"]}
        assert sum(block.role == DESCRIPTION for block in drawn) == 1
        assert sum(block in look_ups for block in drawn) == min(3, len(look_ups))
        assert len(drawn) == 3 + min(3, len(look_ups))


def test_what_does_not_fit_is_left_out_from_the_end(store: PictureStore, blocks: Blocks) -> None:
    def drawn(tokens: int) -> list[list[Block]]:
        return Lessons(store, blocks, recipe(questions=8, look_ups=6, block_tokens=tokens), 1).draw()[1]

    for short, whole in zip(drawn(120), drawn(10_000), strict=True):
        assert short == whole[: len(short)]
        assert len(short) == 1 or sum(len(block.ids) for block in short) <= 120
    assert any(len(a) < len(b) for a, b in zip(drawn(120), drawn(10_000), strict=True))


def test_scales_are_drawn_with_their_shares(store: PictureStore, blocks: Blocks) -> None:
    lessons = Lessons(store, blocks, RECIPE, 1)
    made = [lessons.scale((1, 9, 36), (0.0, 1.0, 3.0)) for _ in range(400)]
    assert made.count(1) == 0
    assert 60 < made.count(9) < 140


def test_look_ups_are_facts_of_the_picture(store: PictureStore) -> None:
    found = 0
    for text in store.texts:
        facts = dict(text["look_ups"])
        for question, answer, kind in text["questions"]:
            priced = [key for key in facts if key.endswith(" price") and key[:-6] in question]
            if kind == "value" and priced:
                assert answer in {facts[key] for key in priced}
                found += 1
            if kind == "colour" and text["family"] == "scenes":
                shape = next(k for k in facts if k.endswith("colour") and f" {k.split()[0]}" in question)
                assert facts[shape] == answer
                found += 1
    assert found
