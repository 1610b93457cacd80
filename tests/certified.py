"""Certificates for tests: a grid with every kind of entry."""

from __future__ import annotations

from dataclasses import replace

from router.certificates import Certificate, Certificates, Setting, TokenBounds
from router.constraints import LossName


def certificate(
    epsilon: float, delta: float, price: float | None, loss: LossName = "regret", group: str = ""
) -> Certificate:
    setting = None if price is None else Setting(price)
    return Certificate(loss, epsilon, delta, 1000, 299, setting, min(epsilon, 0.004), 40.0, group)


GRID = Certificates(
    accuracy=(
        certificate(0.01, 0.05, None),
        certificate(0.02, 0.05, 0.0005),
        certificate(0.02, 0.1, 0.002),
        certificate(0.05, 0.05, 1.0),
        certificate(0.05, 0.05, 0.0, "net"),
        certificate(0.03, 0.05, 0.5, group="chart"),
        replace(certificate(0.001, 0.05, None), smallest_n=2995),
    ),
    tokens=(TokenBounds(0.05, 1000, (450.0, 110.0, 25.0, 1.0)),),
    max_new_tokens=16,
    outcomes="abc",
)
