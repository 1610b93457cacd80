"""Muon against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from training.backbone.muon import Muon, orthogonal

SHAPES = ((24, 24), (24, 24), (16, 40), (40, 16))


def steps(optimiser: torch.optim.Optimizer, weights: list[Tensor], count: int = 4) -> list[Tensor]:
    """How far each weight has moved after a few steps with the same gradients."""
    before = [weight.detach().clone() for weight in weights]
    generator = torch.Generator().manual_seed(7)
    for group in optimiser.param_groups:
        group["lr"] = 0.02
    for _ in range(count):
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=generator)
        optimiser.step()
    return [weight.detach() - old for weight, old in zip(weights, before, strict=True)]


def weights() -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(shape, generator=generator).requires_grad_() for shape in SHAPES]


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_its_steps_are_those_of_torchs_own(precision: torch.dtype) -> None:
    ours, theirs = weights(), weights()
    other = torch.optim.Muon(theirs, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    moved = steps(Muon(ours, weight_decay=0.1, precision=precision), ours)
    expected = steps(other, theirs)
    for one, same in zip(moved, expected, strict=True):
        assert (one - same).norm() < 0.03 * same.norm()  # torch's own computes in bfloat16


def test_singular_values_come_near_each_other_whatever_they_were() -> None:
    generator = torch.Generator().manual_seed(1)
    basis = torch.linalg.qr(torch.randn(3, 12, 12, generator=generator))[0]
    matrices = basis * torch.logspace(-1, 1, 12) @ basis.mT
    for batch in (matrices, matrices[:, :7], matrices[:, :, :5]):
        found = torch.linalg.svdvals(orthogonal(batch))
        assert found.min() > 0.3
        assert found.max() < 1.3


def test_a_matrix_without_a_gradient_stays() -> None:
    ours = weights()
    ours[0].grad = torch.ones_like(ours[0])
    before = [weight.detach().clone() for weight in ours]
    optimiser = Muon(ours, weight_decay=0.0, precision=torch.float32)
    optimiser.param_groups[0]["lr"] = 0.1
    optimiser.step()
    assert not torch.equal(ours[0], before[0])
    assert all(torch.equal(a, b) for a, b in zip(ours[1:], before[1:], strict=True))
