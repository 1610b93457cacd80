"""The optimiser: masters in float32, AdamW, and Muon for the matrices that are named."""

from __future__ import annotations

import io

import pytest
import torch
from torch import nn

from training.backbone.mixed import MixedOptimiser
from training.backbone.muon import Muon, orthogonal
from training.backbone.precision import working_dtype


def made(muon: tuple[str, ...] = ()) -> tuple[nn.Sequential, MixedOptimiser]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    names = [name for name, _ in model.named_parameters()]
    return model, MixedOptimiser(
        model, names, weight_decay=0.0, clip=1.0, muon=muon, muon_factor=2.0 if muon else 1.0
    )


def learn(model: nn.Sequential, optimiser: MixedOptimiser, steps: int, seed: int = 1) -> list[float]:
    generator = torch.Generator().manual_seed(seed)
    losses = []
    for _ in range(steps):
        x = torch.randn(32, 8, generator=generator)
        loss = (model(x.bfloat16()).float() - x.flip(1)).square().mean()
        loss.backward()
        optimiser.collect()
        optimiser.step(1e-2)
        losses.append(float(loss.detach()))
    return losses


def test_both_ways_learn_and_the_working_weights_follow_the_masters() -> None:
    for muon in ((), ("0.weight", "1.weight")):
        model, optimiser = made(muon)
        losses = learn(model, optimiser, 80)
        assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
        for name, weight in model.named_parameters():
            assert torch.equal(weight, optimiser.masters[name].bfloat16())


def test_muon_moves_every_direction_of_a_matrix_alike() -> None:
    model, optimiser = made(("0.weight",))
    before = optimiser.masters["0.weight"].clone()
    learn(model, optimiser, 1)
    spectrum = torch.linalg.svdvals(optimiser.masters["0.weight"] - before)
    assert spectrum[0] / spectrum[4] < 1.5  # the iteration brings the larger ones near each other
    bias = optimiser.masters["0.bias"]
    assert torch.isfinite(bias).all()


@pytest.mark.parametrize("shape", [(8, 8), (8, 24), (24, 8)])
def test_muon_in_bfloat16_is_that_of_torch(shape: tuple[int, int]) -> None:
    torch.manual_seed(3)
    ours = nn.Parameter(torch.randn(shape))
    theirs = nn.Parameter(ours.detach().clone())
    own = Muon([ours], lr=0.01, weight_decay=0.1, dtype=torch.bfloat16)
    known = torch.optim.Muon(
        [theirs], lr=0.01, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw"
    )
    for _ in range(4):
        ours.grad = torch.randn(shape)
        theirs.grad = ours.grad.clone()
        own.step()
        known.step()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=0)


@pytest.mark.parametrize("shape", [(8, 8), (8, 24), (24, 8)])
def test_an_orthogonal_matrix_keeps_the_singular_vectors(shape: tuple[int, int]) -> None:
    torch.manual_seed(4)
    matrix = torch.randn(shape)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    inner = left.T @ orthogonal(matrix, torch.float32) @ right.T
    assert 0.6 < inner.diagonal().min() <= inner.diagonal().max() < 1.3
    torch.testing.assert_close(inner, inner.diagonal().diag(), atol=1e-4, rtol=0)


def test_the_working_weights_are_in_the_format_asked_for() -> None:
    model = nn.Linear(8, 8)
    optimiser = MixedOptimiser(
        model, ["weight"], weight_decay=0.0, clip=1.0, dtype=torch.float32, muon=["weight"]
    )
    model(torch.ones(1, 8)).sum().backward()
    optimiser.collect()
    optimiser.step(1e-2)
    assert model.weight.dtype == torch.float32
    assert torch.equal(model.weight, optimiser.masters["weight"])


def test_the_format_is_the_one_asked_for_or_the_faster_one(monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = {torch.bfloat16: 1.0, torch.float32: 66.0}
    monkeypatch.setattr("training.backbone.precision._speed", speeds.__getitem__)
    assert working_dtype("auto", torch.get_num_threads()) == torch.float32
    speeds[torch.bfloat16] = 670.0
    assert working_dtype("auto", torch.get_num_threads()) == torch.bfloat16
    assert working_dtype("float32", 1) == torch.float32
    with pytest.raises(ValueError, match="float16"):
        working_dtype("float16", 1)


def test_a_state_that_is_loaded_goes_on_as_if_nothing_had_happened() -> None:
    model, optimiser = made(("0.weight", "1.weight"))
    learn(model, optimiser, 5)
    state = optimiser.state()
    again, other = made(("0.weight", "1.weight"))
    saved = torch.load(_through_a_file(state), weights_only=True)
    other.load(saved)
    assert learn(model, optimiser, 3, seed=2) == learn(again, other, 3, seed=2)


def test_a_gradient_that_is_not_finite_changes_nothing() -> None:
    model, optimiser = made(("0.weight",))
    before = {name: value.clone() for name, value in optimiser.masters.items()}
    model(torch.full((1, 8), torch.inf).bfloat16()).sum().backward()
    optimiser.collect()
    optimiser.step(1e-2)
    assert all(torch.equal(optimiser.masters[name], value) for name, value in before.items())
    assert all(not value.grad.any() for value in optimiser.masters.values() if value.grad is not None)


def _through_a_file(state: dict[str, object]) -> io.BytesIO:

    stream = io.BytesIO()
    torch.save(state, stream)
    stream.seek(0)
    return stream
