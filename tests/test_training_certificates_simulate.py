"""Whether certificates hold: simulated for a good and a bad router, and for tests that refuse too easily."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tests.test_training_certificates import along_prices, router, table
from training.certificates.bad import reversed_scales
from training.certificates.binomial import clopper_pearson
from training.certificates.bounds import Bound, Floats, Sets, Test
from training.certificates.grid import Grid
from training.certificates.ordering import Order, as_given
from training.certificates.played import Played
from training.certificates.policies import predict
from training.certificates.replay import Replay
from training.certificates.simulate import simulate, simulate_budgets, simulate_families

SIMULATED = Grid(losses=("regret", "net"), epsilons=(0.05, 0.2), deltas=(0.1, 0.3))


def ordered(replay: Replay) -> tuple[Played, Order]:
    return replay, as_given(replay, SIMULATED)


def test_certificates_of_a_good_and_of_a_bad_router_are_wrong_no_more_often_than_delta() -> None:
    predictions = predict(router(), table())
    rows = simulate(
        {
            "router": ordered(along_prices()),
            "reversed": ordered(along_prices(reversed_scales(predictions))),
        },
        SIMULATED,
        n_images=150,
        draws=100,
    )
    assert len(rows) == 16
    for row in rows:
        assert row.holds
        assert row.low <= row.rate <= row.high
        assert row.known <= row.full == 576
    good = {(r.loss, r.epsilon, r.delta): r for r in rows if r.policy == "router"}
    for key, bad in {(r.loss, r.epsilon, r.delta): r for r in rows if r.policy == "reversed"}.items():
        assert good[key].known <= bad.known
    assert good["regret", 0.2, 0.3].tokens < 300


def test_families_hold_all_at_once_with_an_equal_part_of_delta_each() -> None:
    policies = {"router": ordered(along_prices())}
    joint = simulate_families(policies, SIMULATED, n_images=150, draws=60)
    assert [row.policy for row in joint] == ["router, by family"] * 8
    assert all(row.holds and row.n_images in (149, 150, 151) for row in joint)
    alone = {(r.loss, r.epsilon, r.delta): r for r in simulate(policies, SIMULATED, n_images=150, draws=60)}
    one = {(r.loss, r.epsilon, r.delta): r for r in joint}
    assert one.keys() == alone.keys()
    assert one["regret", 0.2, 0.3].tokens < 576
    coarse = along_prices().family("coarse")
    assert simulate_families({"one": (coarse, as_given(coarse, SIMULATED))}, SIMULATED, draws=10) == []


def test_bounds_on_tokens_are_wrong_no_more_often_than_delta_and_one_without_a_test_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from training.certificates import simulate as module

    replay = along_prices()
    rows = simulate_budgets("router", replay, (0.1, 0.3), n_images=150, draws=1000)
    assert {row.loss for row in rows} == {"tokens"}
    assert len(rows) == 12
    for row in rows:
        assert row.holds
        assert row.epsilon < row.full == 576
    assert any(row.nothing < 1 for row in rows)

    def by_the_mean(x: Floats, tests: Sequence[Test], sets: Sets, *, largest: float) -> list[Floats]:
        return [(sets.counts @ x / sets.n > mean).astype(np.float64) for mean, _ in tests]

    monkeypatch.setattr(module, "bet_along", by_the_mean)
    assert not all(r.holds for r in simulate_budgets("router", replay, (0.1,), n_images=150, draws=60))


def test_a_test_that_refuses_too_easily_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean alone, without a bound: wrong about as often as right where the risk is epsilon."""
    from training.certificates import simulate as module

    def by_the_mean(losses: Floats, epsilon: float, sets: Sets, *, largest: float = 1.0) -> Floats:
        p: Floats = (sets.counts @ losses / sets.n > epsilon).astype(np.float64)
        return p

    monkeypatch.setattr(module, "BOUNDS", dict.fromkeys(SIMULATED.losses, Bound(by_the_mean, 0.0)))
    rows = simulate({"router": ordered(along_prices())}, SIMULATED, n_images=100, draws=200)
    assert not all(row.holds for row in rows)


def test_clopper_pearson_is_the_interval_of_the_tables() -> None:
    assert clopper_pearson(0, 20) == pytest.approx((0.0, 0.1684), abs=1e-4)
    assert clopper_pearson(20, 20) == pytest.approx((0.8316, 1.0), abs=1e-4)
    assert clopper_pearson(3, 100) == pytest.approx((0.00623, 0.08518), abs=1e-5)
