"""Small torch networks: settings and epochs are found on folds by image, as for the trees in `boosting`.

Imports torch: a candidate imports this file inside ``fit``, so that listing candidates stays cheap.
Shapes: n samples, C outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from router.features import Float32
from training.candidates.base import image_folds
from training.candidates.budget import Budget, Setting

Build = Callable[[Setting], nn.Module]
Loss = Callable[..., Tensor]
Arrays = Sequence[NDArray[Any]]

BATCH = 256
CLIP = 10.0
"""Deviations beyond which a standardised input is cut: a word that one question in a thousand has is 30."""
AVERAGE = 0.99
"""What is kept of the averaged weights at each step: what is evaluated and returned is the average."""

_BUILDING = Lock()  # torch draws first weights from one generator for the whole process


class Standardise(nn.Module):
    """Takes columns to mean 0 and deviation 1, constant columns to 0; a part of the weights."""

    def __init__(self, mean: Tensor, factor: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("factor", factor)

    @classmethod
    def of(cls, values: NDArray[np.floating]) -> Standardise:
        """From ``values`` [n, ...]: over the samples, each column for itself."""
        deviation = values.std(axis=0, dtype=np.float64)
        factor = np.where(deviation > 1e-6, 1 / np.maximum(deviation, 1e-6), 0.0)
        mean = values.mean(axis=0, dtype=np.float64)
        return cls(torch.tensor(mean, dtype=torch.float32), torch.tensor(factor, dtype=torch.float32))

    def forward(self, values: Tensor) -> Tensor:
        mean, factor = self.get_buffer("mean"), self.get_buffer("factor")
        return ((values - mean) * factor).clamp(-CLIP, CLIP)


class Dropout(nn.Module):
    """Dropout with a generator of its own: torch's draws from one that fits side by side would share."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self._generator = torch.Generator().manual_seed(int(torch.randint(2**31, ())))

    def forward(self, values: Tensor) -> Tensor:
        if not self.training or not self.p:
            return values
        kept = torch.rand(values.shape, generator=self._generator) >= self.p
        return values * kept / (1 - self.p)


def perceptron(values: NDArray[np.floating], outputs: int, width: int = 64, dropout: float = 0.1) -> Build:
    """Builds a network with one hidden layer over inputs like ``values`` [n, F]."""
    standardise = Standardise.of(values)

    def build(setting: Setting) -> nn.Module:
        layers = nn.Linear(values.shape[1], width), nn.GELU(), Dropout(dropout), nn.Linear(width, outputs)
        return nn.Sequential(standardise, *layers)

    return build


@dataclass(frozen=True)
class FittedNetwork:
    """A network after fitting, and how it came about.

    weights: by their names in the module, buffers too. held_out: float32 [n, C], each sample's outputs by
    the network of the fold that it was held out of; empty where there were no folds. notes: plain numbers
    for the manifest. flops: of its matrix products, per request.
    """

    build: Build
    setting: Setting
    weights: Mapping[str, Float32]
    held_out: Float32
    notes: dict[str, Any]
    flops: float

    def module(self) -> nn.Module:
        """The module with its weights, ready for use and export."""
        module = _built(self.build, self.setting, 0)
        module.load_state_dict({name: torch.from_numpy(value) for name, value in self.weights.items()})
        return module.eval()

    def __call__(self, *inputs: NDArray[Any]) -> Float32:
        """Outputs float32 [n, C]."""
        module = self.module()
        out: Float32 = _outputs(module, dict(module.state_dict()), _tensors(inputs)).numpy()
        return out


def fit_network(
    build: Build,
    inputs: Arrays,
    targets: Arrays,
    loss: Loss,
    groups: NDArray[np.int64],
    *,
    budget: Budget,
    seed: int,
    threads: int = 1,
) -> FittedNetwork:
    """Choose a setting on the first fold, the number of epochs on all, then fit on everything; that last fit
    alone, with the first setting, where ``budget`` knows the epochs.

    build: setting -> a new module, which is called as ``module(*inputs)`` and gives [n, C]; of what it
    draws, only `Dropout` may draw later than that. inputs, targets: arrays of n rows. loss:
    ``loss(outputs, *targets)`` -> [n], a loss for each row. groups: [n], no fold splits one. threads: fits
    side by side; the result depends on the data and ``seed`` alone.
    Raises `ValueError` for fewer groups than folds.
    """
    grid, folds = budget.grid, budget.folds
    fold = image_folds(groups, folds, seed)
    x, y = _tensors(inputs), _tensors(targets)
    train = partial(_train, build, x, y, loss, seed=seed)
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=_calm) as pool:

            def run(jobs: Sequence[tuple[int, Setting]]) -> list[_Run]:
                held = [(setting, budget.epochs, fold == k, budget.patience) for k, setting in jobs]
                return list(pool.map(train, *zip(*held, strict=True)))

            best, found, runs = 0, budget.known, list[_Run]()
            if not found:
                tried = run([(0, setting) for setting in grid])
                best = min(range(len(grid)), key=lambda i: tried[i].loss)
                runs = [tried[best], *run([(k, grid[best]) for k in range(1, folds)])]
                found = max(1, round(float(np.mean([r.epochs for r in runs]))))
            final = pool.submit(train, grid[best], found).result()
    finally:
        torch.set_num_threads(before)
    held_out = np.zeros((len(fold), runs[0].outputs.shape[1]) if runs else (0, 0), np.float32)
    for k, one in enumerate(runs):
        held_out[fold == k] = one.outputs
    notes = {
        "setting": dict(grid[best]),
        "epochs": found,
        **({"held_out_loss": round(float(np.mean([r.loss for r in runs])), 5)} if runs else {}),
        "weights": int(sum(value.size for value in final.weights.values())),
        "torch": torch.__version__.partition("+")[0],
    }
    flops = _flops(_built(build, grid[best], seed).eval(), [each[:1] for each in x])
    return FittedNetwork(build, grid[best], final.weights, held_out, notes, flops)


@dataclass(frozen=True)
class _Run:
    """loss: lowest on the held-out rows, reached after ``epochs``; weights, outputs: as they were then."""

    loss: float
    epochs: int
    weights: Mapping[str, Float32]
    outputs: Float32


def _train(
    build: Build,
    inputs: Sequence[Tensor],
    targets: Sequence[Tensor],
    loss: Loss,
    setting: Setting,
    epochs: int,
    held: NDArray[np.bool_] | None = None,
    patience: int = 0,
    *,
    seed: int,
) -> _Run:
    """Fit on the rows outside ``held`` until the loss on those in it stops falling, or for all epochs."""
    module = _built(build, setting, seed)
    parameters = dict(module.named_parameters())
    average = {name: value.detach().clone() for name, value in module.state_dict().items()}
    optimiser = torch.optim.AdamW(
        parameters.values(), lr=setting["learning_rate"], weight_decay=setting["weight_decay"]
    )
    shuffle = torch.Generator().manual_seed(seed)
    out = np.zeros(len(targets[0]), np.bool_) if held is None else held
    inside, outside = torch.from_numpy(np.flatnonzero(~out)), torch.from_numpy(np.flatnonzero(out))
    step, best = 0, _Run(math.inf, 0, {}, np.zeros((0, 0), np.float32))
    for epoch in range(1, epochs + 1):
        module.train()
        for rows in torch.split(inside[torch.randperm(len(inside), generator=shuffle)], BATCH):
            value = loss(module(*(x[rows] for x in inputs)), *(y[rows] for y in targets)).mean()
            optimiser.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters.values(), 1.0)
            optimiser.step()
            step += 1
            _follow(average, parameters, min(AVERAGE, step / (step + 9)))
        if held is None:
            continue
        module.eval()
        outputs = _outputs(module, average, [x[outside] for x in inputs])
        mean = float(loss(outputs, *(y[outside] for y in targets)).double().mean())
        if mean < best.loss:
            best = _Run(mean, epoch, _arrays(average), outputs.numpy())
        elif epoch - best.epochs >= patience:
            break
    if held is None:
        return _Run(math.nan, epochs, _arrays(average), best.outputs)
    if not best.epochs:
        raise FloatingPointError(f"The loss on held-out images was never a number with {dict(setting)}.")
    return best


@torch.no_grad()
def _follow(average: dict[str, Tensor], parameters: Mapping[str, Tensor], kept: float) -> None:
    for name, value in parameters.items():
        average[name].lerp_(value, 1 - kept)


@torch.no_grad()
def _outputs(module: nn.Module, weights: dict[str, Tensor], inputs: Sequence[Tensor]) -> Tensor:
    parts = zip(*(torch.split(x, 4096) for x in inputs), strict=True)
    return torch.cat([torch.func.functional_call(module, weights, part) for part in parts])


@torch.no_grad()
def _flops(module: nn.Module, inputs: Sequence[Tensor]) -> float:
    """FLOPs of the matrix products in one pass over ``inputs``, a multiply-accumulate being 2; those inside
    of torch's fused attention are not seen."""
    with FlopCounterMode(display=False) as counter:
        module(*inputs)
    return float(counter.get_total_flops())


def _built(build: Build, setting: Setting, seed: int) -> nn.Module:
    with _BUILDING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(setting)


def _calm() -> None:
    """One thread per fit, for its sums must not depend on how many there are; no denormals, they are slow."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


def _tensors(arrays: Arrays) -> list[Tensor]:
    return [torch.from_numpy(np.ascontiguousarray(a)) for a in arrays]


def _arrays(weights: Mapping[str, Tensor]) -> dict[str, Float32]:
    return {name: value.detach().clone().numpy() for name, value in weights.items()}
