"""What the paper's own figures leave to a router: its fixed scales, their hull and its oracle, per benchmark.

Everything is from tables 1, 2 and 9 of the paper (`training.report.paper`); there are no intervals, for it
gives none, and the oracle is the plain one, lucky guesses included. Tokens are per grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from training.evaluation.frontier import upper_hull
from training.report.paper import paper

MODELS = {"llava_next_m3": "LLaVA-NeXT-M3", "llava_1_5_7b_m3": "LLaVA-1.5-7B-M3"}
"""Keys of the paper's figures -> what the models are called."""


@dataclass(frozen=True)
class Benchmark:
    """scales: ascending tokens per grid. accuracy: in [0, 1], of each. oracle, oracle_tokens: None where the
    paper has no oracle. base: accuracy of the model that was not trained to be pooled, None where not given.
    """

    model: str
    name: str
    scales: tuple[int, ...]
    accuracy: tuple[float, ...]
    oracle: float | None = None
    oracle_tokens: float | None = None
    base: float | None = None

    @property
    def best(self) -> int:
        """Index of the most accurate scale; of equals the smallest."""
        return max(range(len(self.scales)), key=lambda s: (self.accuracy[s], -s))

    @property
    def hull(self) -> tuple[int, ...]:
        """Indices of the scales on the fixed hull."""
        return upper_hull(self.scales, self.accuracy)

    @property
    def accuracy_headroom(self) -> float | None:
        """Oracle minus best fixed scale."""
        return None if self.oracle is None else self.oracle - self.accuracy[self.best]

    @property
    def token_headroom(self) -> float | None:
        """Share of the best fixed scale's tokens that the oracle does without."""
        return None if self.oracle_tokens is None else 1 - self.oracle_tokens / self.scales[self.best]


def benchmarks() -> tuple[Benchmark, ...]:
    """Every benchmark of every model, in the paper's order."""
    found = []
    for key, model in MODELS.items():
        figures: Mapping[str, Any] = paper()[key]
        scales = tuple(sorted(map(int, figures["accuracy"])))
        oracle = figures.get("oracle")
        for at, name in enumerate(figures["benchmarks"]):
            found.append(
                Benchmark(
                    model=model,
                    name=name,
                    scales=scales,
                    accuracy=tuple(figures["accuracy"][str(scale)][at] / 100 for scale in scales),
                    oracle=None if oracle is None else oracle["accuracy"][at] / 100,
                    oracle_tokens=None if oracle is None else oracle["tokens"][at],
                    base=figures["base"][at] / 100 if "base" in figures else None,
                )
            )
    return tuple(found)


def as_json() -> dict[str, Any]:
    """The content of paper.json."""
    return {
        "source": paper()["source"],
        "benchmarks": [
            {
                "model": b.model,
                "benchmark": b.name,
                "fixed": dict(zip(map(str, b.scales), b.accuracy, strict=True)),
                "fixed_hull": [b.scales[s] for s in b.hull],
                "best_fixed_scale": b.scales[b.best],
                "base": b.base,
                "oracle": None
                if b.oracle is None
                else {"accuracy": b.oracle, "tokens_per_grid": b.oracle_tokens},
                "accuracy_headroom": b.accuracy_headroom,
                "token_headroom": b.token_headroom,
            }
            for b in benchmarks()
        ],
        "llm_prefill_cost": paper()["llm_prefill_cost"],
    }
