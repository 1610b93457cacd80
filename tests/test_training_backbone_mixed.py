"""The optimiser: masters in float32, AdamW, and Muon for the matrices that are named."""

from __future__ import annotations

import io

import pytest
import torch
from torch import nn

from training.backbone.mixed import MixedOptimiser, working_dtype


def made(
    muon: tuple[str, ...] = (), working: torch.dtype = torch.bfloat16
) -> tuple[nn.Sequential, MixedOptimiser]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    names = [name for name, _ in model.named_parameters()]
    factor = 2.0 if muon else 1.0
    return model, MixedOptimiser(
        model, names, weight_decay=0.0, clip=1.0, muon=muon, muon_factor=factor, working=working
    )


def learn(model: nn.Sequential, optimiser: MixedOptimiser, steps: int, seed: int = 1) -> list[float]:
    generator = torch.Generator().manual_seed(seed)
    losses = []
    for _ in range(steps):
        x = torch.randn(32, 8, generator=generator)
        loss = (model(x.to(next(model.parameters()).dtype)).float() - x.flip(1)).square().mean()
        loss.backward()
        optimiser.collect()
        optimiser.step(1e-2)
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("working", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("muon", [(), ("0.weight", "1.weight")])
def test_both_ways_learn_and_the_working_weights_follow_the_masters(
    muon: tuple[str, ...], working: torch.dtype
) -> None:
    model, optimiser = made(muon, working)
    losses = learn(model, optimiser, 80)
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    for name, weight in model.named_parameters():
        assert weight.dtype == working
        assert torch.equal(weight, optimiser.masters[name].to(working))


@pytest.mark.parametrize(
    ("able", "expected"),
    [
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, torch.float32),
        ({"avx2": True, "avx512_f": True, "avx512_bf16": False}, torch.float32),
        ({"avx2": True, "avx512_bf16": True, "amx_bf16": False}, torch.bfloat16),
        ({"avx512_bf16": False, "amx_bf16": True}, torch.bfloat16),
        ({"neon": True}, torch.float32),
        ({"neon": True, "bf16": True}, torch.bfloat16),
    ],
)
def test_bfloat16_is_taken_only_where_the_processor_multiplies_it(
    able: dict[str, bool], expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert working_dtype() == expected


def test_muon_moves_every_direction_of_a_matrix_alike() -> None:
    model, optimiser = made(("0.weight",))
    before = optimiser.masters["0.weight"].clone()
    learn(model, optimiser, 1)
    spectrum = torch.linalg.svdvals(optimiser.masters["0.weight"] - before)
    assert spectrum[0] / spectrum[4] < 1.5  # the iteration brings the larger ones near each other
    bias = optimiser.masters["0.bias"]
    assert torch.isfinite(bias).all()


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
