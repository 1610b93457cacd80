"""What is asked about each training picture in a step: questions, look-ups, descriptions, drawn at random."""

from __future__ import annotations

import numpy as np

from training.backbone.pictures import PictureStore
from training.backbone.recipe import Recipe
from training.backbone.sequences import DESCRIPTION, Block, Blocks


class Lessons:
    """Every picture's tokenised blocks, and random choices of them."""

    def __init__(self, store: PictureStore, blocks: Blocks, recipe: Recipe, seed: int) -> None:
        self._recipe = recipe
        self._questions = [[blocks.block(q, a) for q, a, _ in text["questions"]] for text in store.texts]
        self._look_ups = [
            [blocks.block(key, value) for key, value in text["look_ups"]] for text in store.texts
        ]
        self._descriptions = [
            [blocks.block(p, t, DESCRIPTION) for p, t in text["descriptions"]] for text in store.texts
        ]
        self._rng = np.random.default_rng(seed)
        self._order: list[int] = []

    def draw(self) -> tuple[list[int], list[list[Block]]]:
        """Indices of a step's pictures (every one once before any comes again), and blocks for each.

        The first description (of the whole picture) is taken every second time, parts of it otherwise.
        """
        rng, recipe = self._rng, self._recipe
        while len(self._order) < recipe.step_images:
            self._order = [*rng.permutation(len(self._questions)).tolist(), *self._order]
        chosen = [self._order.pop() for _ in range(recipe.step_images)]
        drawn = []
        for index in chosen:
            told = self._some(self._descriptions[index], recipe.descriptions)
            if told and rng.random() < 0.5:
                told[0] = self._descriptions[index][0]
            asked = self._some(self._questions[index], recipe.questions)
            looked_up = self._some(self._look_ups[index], recipe.look_ups)
            drawn.append(_within([*told, *asked, *looked_up], recipe.block_tokens))
        return chosen, drawn

    def scale(self, scales: tuple[int, ...], shares: tuple[float, ...]) -> int:
        """One of ``scales``, with these probabilities."""
        return int(self._rng.choice(scales, p=np.array(shares) / sum(shares)))

    def _some(self, blocks: list[Block], count: int) -> list[Block]:
        return [blocks[i] for i in self._rng.permutation(len(blocks))[:count]]


def _within(blocks: list[Block], tokens: int) -> list[Block]:
    """The first blocks that fit into ``tokens`` together; at least one."""
    kept: list[Block] = []
    left = tokens
    for block in blocks:
        left -= len(block.ids)
        if left < 0 and kept:
            break
        kept.append(block)
    return kept
