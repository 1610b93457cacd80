from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from training.candidates.budget import Budget, Setting
from training.candidates.networks import FittedNetwork, Standardise, fit_network, perceptron

GRID: Sequence[Setting] = (
    {"learning_rate": 1e-2, "weight_decay": 0.1},
    {"learning_rate": 3e-2, "weight_decay": 0.1},
)


def planted(n_images: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Four samples per image; the label is the sign of the first column, which is 10 +- 3."""
    x = np.random.default_rng(seed).normal(size=(4 * n_images, 5)) * [3, 1, 1, 1, 0] + [10, 0, 0, 0, 7]
    return x.astype(np.float32), (x[:, :1] > 10).astype(np.float32), np.repeat(np.arange(n_images), 4)


def fitted(seed: int = 0, threads: int = 1, epochs: int = 12) -> FittedNetwork:
    x, y, groups = planted(60, 1)

    def loss(outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return nn.functional.binary_cross_entropy_with_logits(outputs, target, reduction="none").mean(dim=1)

    budget = Budget(grid=GRID, folds=3, epochs=epochs)
    return fit_network(
        perceptron(x, 1, width=8), [x], [y], loss, groups, seed=seed, threads=threads, budget=budget
    )


def test_a_network_learns_a_planted_rule_for_images_that_it_has_not_seen() -> None:
    x, y, _ = planted(60, 2)
    network = fitted()
    outputs = network(x)
    assert outputs.shape == (240, 1)
    assert outputs.dtype == np.float32
    assert ((outputs > 0) == (y > 0)).mean() > 0.9
    assert network.notes["setting"] in [dict(setting) for setting in GRID]
    assert 1 <= network.notes["epochs"] <= 12


def test_held_out_outputs_are_of_every_sample() -> None:
    network, (_, y, _) = fitted(), planted(60, 1)
    assert network.held_out.shape == y.shape
    assert ((network.held_out > 0) == (y > 0)).mean() > 0.75


def test_a_fit_depends_on_the_seed_and_not_on_the_number_of_threads() -> None:
    one, two, other = fitted(epochs=4), fitted(epochs=4, threads=2), fitted(epochs=4, seed=1)
    assert one.notes == two.notes
    for name, value in one.weights.items():
        assert np.array_equal(value, two.weights[name]), name
    assert not np.array_equal(one.weights["1.weight"], other.weights["1.weight"])


def test_fitting_leaves_torchs_generator_and_threads_as_they_were() -> None:
    torch.manual_seed(5)
    expected, threads = torch.rand(3), torch.get_num_threads()
    torch.manual_seed(5)
    fitted(epochs=2)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


def test_a_column_that_is_the_same_for_all_says_nothing() -> None:
    x, _, _ = planted(60, 1)
    out = Standardise.of(x)(torch.from_numpy(x))
    assert out[:, 4].abs().max() == 0
    assert out[:, 0].mean().abs() < 1e-5
    assert abs(float(out[:, 0].std()) - 1) < 1e-2


def test_an_epoch_that_gives_no_number_is_refused() -> None:
    x, y, groups = planted(20, 1)

    def build(setting: Setting) -> nn.Module:
        return nn.Linear(5, 1)

    def loss(outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (outputs * torch.nan).squeeze(1)

    with pytest.raises(FloatingPointError, match="never a number with"):
        fit_network(build, [x], [y], loss, groups, seed=0, budget=Budget(grid=GRID, folds=2, epochs=3))
