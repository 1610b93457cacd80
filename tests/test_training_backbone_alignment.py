"""What lies under a pooled token is what the alignment ties it to."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from data.scalebench.vocabulary import COLOUR_INDEX, KIND_INDEX, LABELS, word_class
from training.backbone.alignment import PatchWords, alignment_loss, hints
from training.backbone.recipe import GRID

RED, CIRCLE, EXIT, WHITE, OTHER = 1, 2, 3, 4, 0
IDS = {"red": (RED,), "circle": (CIRCLE,), "exit": (EXIT, 6), "white": (WHITE,)}


@pytest.fixture
def words() -> PatchWords:
    return PatchWords(lambda word: IDS.get(word, (OTHER,)), 8)


def labels() -> dict[str, NDArray[np.int16]]:
    """Two white pictures; the second has a red circle in its first patch and "exit" in its last."""
    made: dict[str, NDArray[np.int16]] = {head: np.zeros((2, GRID, GRID), np.int16) for head in LABELS}
    made["background"][:] = COLOUR_INDEX["white"]
    made["kind"][1, 0, 0] = KIND_INDEX["circle"]
    made["colour"][1, 0, 0] = 1 + COLOUR_INDEX["red"]
    made["word"][1, -1, -1] = word_class("exit")
    return made


@pytest.mark.parametrize("scale", [1, 9, 36, 144, 576])
def test_a_token_points_at_the_words_under_it_and_a_little_at_the_background(
    words: PatchWords, scale: int
) -> None:
    made = words.targets(labels(), [1, 0], scale)
    assert made.shape == (2, scale, 8)
    torch.testing.assert_close(made.sum(-1), torch.ones(2, scale))
    assert bool((made[1, :, WHITE] == 1).all())
    first, last = made[0, 0], made[0, -1]
    assert first[RED] == first[CIRCLE] == pytest.approx(5 * float(first[WHITE]))
    assert last[EXIT] == last[6] == pytest.approx(5 * float(last[WHITE]))
    if scale > 1:
        assert first[EXIT] == last[RED] == 0


def test_patches_of_the_padding_name_nothing(words: PatchWords) -> None:
    made = labels()
    made["background"][0] = -1
    targets = words.targets(made, [0], 36)
    assert float(targets.abs().max()) == 0
    loss = alignment_loss(torch.randn(1, 36, 4), torch.randn(8, 4), targets)
    assert float(loss) == 0


def test_the_loss_falls_towards_the_words_and_teaches_the_words_nothing(words: PatchWords) -> None:
    torch.manual_seed(0)
    embeddings = torch.randn(8, 16, requires_grad=True)
    targets = words.targets(labels(), [1], 9)
    right = hints(embeddings.detach(), targets)
    visual = torch.randn(1, 9, 16, requires_grad=True)
    loss = alignment_loss(visual, embeddings, targets)
    assert alignment_loss(right, embeddings, targets) < 0.5 * loss
    loss.backward()  # type: ignore[no-untyped-call]
    assert embeddings.grad is None
    assert visual.grad is not None


def test_a_hint_is_as_long_as_a_word(words: PatchWords) -> None:
    embeddings = torch.randn(8, 16)
    made = hints(embeddings, words.targets(labels(), [1], 36))
    torch.testing.assert_close(made.norm(dim=-1), embeddings.norm(dim=-1).mean().expand(1, 36))
