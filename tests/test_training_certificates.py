"""From outcomes to certificates: losses, the path, the tests along it, the grid, and whether it holds."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from data.records import OutcomeTable, RecordError, long_texts
from router import Constraints, Router
from router.certificates import FULL, Certificates
from router.errors import BundleMismatch
from router.predictor import Predictions
from tests.routing import SCALES, outcomes, small_fit
from training.certificates.certify import certify
from training.certificates.grid import Grid
from training.certificates.losses import at_scales, image_means
from training.certificates.ordering import as_given, learned
from training.certificates.path import pareto, price_path
from training.certificates.played import Played
from training.certificates.policies import policies, predict
from training.certificates.replay import Replay
from training.certificates.testing import cheapest, passed
from training.certificates.token_bounds import token_bounds

GRID = Grid(losses=("regret", "net", "agreement"), epsilons=(0.02, 0.1, 0.25), deltas=(0.05, 0.2))


@cache
def router() -> Router:
    return Router.of(small_fit().bundle)


@cache
def table(n_images: int = 300) -> OutcomeTable:
    """Answers that are the scale's own where it is wrong."""
    made = outcomes(n_images, split="certify")
    said = [["Yes." if s else f"no {k}" for k, s in enumerate(row)] for row in made.scores.tolist()]
    manifest = {**made.manifest, "max_new_tokens": 16}
    return replace(made, answers=long_texts(said), manifest=manifest)


@cache
def certified() -> Certificates:
    return certify(router(), table(), GRID, outcomes="abc")


def along_prices(predictions: Predictions | None = None) -> Replay:
    known = predict(router(), table()) if predictions is None else predictions
    (policy,) = policies(router(), known, table(), GRID)
    return policy.replay


def test_losses_are_against_the_full_scale() -> None:
    made = replace(
        table(4),
        scores=np.tile([[0.0, 0.5, 1.0, 0.5, 0.5]], (16, 1)),
        answers=long_texts([["a", "The Cat", "cat", " Cat. ", "cat"]] * 16),
    )
    assert at_scales(made, "net")[0].tolist() == [0.5, 0.0, -0.5, 0.0, 0.0]
    assert at_scales(made, "regret")[0].tolist() == [0.5, 0.0, 0.0, 0.0, 0.0]
    assert at_scales(made, "agreement")[0].tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]


def test_the_kinds_of_prompts_in_the_calibration_are_kept_and_too_many_are_refused() -> None:
    assert certified().instructions == ("",)
    brief, odd = "\nBe brief.", "\nBe odd."
    asked = [
        question + (odd if i in (8, 9) else brief if i % 40 == 0 else "")
        for i, question in enumerate(table().questions)
    ]
    grid = Grid(losses=("net",), epsilons=(0.25,), deltas=(0.2,))
    mixed = certify(router(), replace(table(), questions=tuple(asked)), grid, families=False)
    assert mixed.instructions == ("", "be brief.", "be odd.")
    lines = tuple(f"Look.\n{question} {i}" for i, question in enumerate(table().questions))
    different = replace(table(), questions=lines)
    with pytest.raises(RecordError, match=r"end with 1,200 different lines, .* or certify with --any-prompt"):
        certify(router(), different, grid, families=False)
    every = certify(router(), different, grid, families=False, any_prompt=True)
    assert every.instructions is None
    assert every.know("\nand anything else")
    assert not mixed.know("and anything else")


def test_agreement_needs_no_references() -> None:
    bare = replace(table(), references=((),) * len(table()), scores=np.zeros_like(table().scores))
    np.testing.assert_array_equal(at_scales(bare, "agreement"), at_scales(table(), "agreement"))
    assert at_scales(bare, "agreement").any()


def test_the_unit_is_the_image_with_the_mean_over_its_questions() -> None:
    values = np.array([[1.0, 0.0, 0.5], [0.0, 0.0, 0.5]])
    # Image 7 has the first two samples, image 2 the third; none has no sample.
    np.testing.assert_allclose(image_means(values, np.array([7, 7, 2])), [[0.5, 0.5], [0.5, 0.0]])


def test_the_path_goes_from_the_full_scale_to_the_smallest_and_knows_nothing_of_certify() -> None:
    path = price_path(router().bundle.prices)
    prices = [setting.price for setting in path]
    assert path[0] == FULL
    assert prices == sorted(prices)
    assert set(router().bundle.prices.prices) < set(prices)
    tokens = along_prices().image_tokens().mean(axis=0)
    assert tokens[0] == 576
    assert (np.diff(tokens) <= 1e-9).all()
    assert tokens[-1] < 12  # the few novel images keep the full scale


def test_of_all_settings_those_stay_that_nothing_beats_in_both() -> None:
    lost = np.array([0.0, 0.2, 0.1, 0.1, 0.3, 0.15])
    spent = np.array([600.0, 10.0, 50.0, 60.0, 20.0, 5.0])
    # The first one spends more than the full scale; the last loses less than the two that spend more.
    assert pareto(lost, spent, 576.0) == [2, 5]
    assert pareto(lost, spent, 5.0) == []


def test_what_will_most_likely_pass_is_tested_first_and_then_ever_cheaper_settings() -> None:
    """A smaller scale is better by far, the one between is not: by price, testing would stop there."""
    n = 400
    made = table().take(np.arange(n))
    right = np.random.default_rng(3).random((n, 3)) < np.array([0.95, 0.75, 0.8])
    scores = np.zeros((n, 5))
    scores[:, [2, 3, 4]] = right
    scores[:, 1] = np.arange(n) % 2  # less right than the full scale, by far: its p-value is 1, as the last's
    world = replace(made, scores=scores)
    choices = np.stack([np.full(n, scale, np.int8) for scale in (4, 3, 2, 1, 0)])
    tokens = np.stack([np.full(n, spent) for spent in (576.0, 144.0, 36.0, 9.0, 1.0)])
    grid = Grid(losses=("net",), epsilons=(0.01,), deltas=(0.05,))
    order = learned(Played(world, choices, tokens), grid)
    assert list(order["net", 0.01]) == [0, 2, 3, 4]  # 144 tokens are beaten in both
    assert list(as_given(Played(world, choices, tokens), grid)["net", 0.01]) == [0, 1, 2, 3, 4]


def test_an_order_that_is_learned_certifies_as_much_as_prices_do() -> None:
    tune = outcomes(200, split="tune")
    grid = Grid(losses=("regret", "net"), epsilons=(0.05, 0.1), deltas=(0.1,))
    by_learning, by_price = (certify(router(), table(), grid, tune=t, families=False) for t in (tune, None))
    for loss in grid.losses:
        pairs = zip(whole(by_learning, loss).values(), whole(by_price, loss).values(), strict=True)
        assert all(one.visual_tokens <= 1.2 * other.visual_tokens for one, other in pairs)


def test_an_order_is_not_learned_on_the_images_that_it_is_tested_on() -> None:
    again = replace(outcomes(30, split="tune"), image_ids=table().image_ids[:30])
    with pytest.raises(RecordError, match="share 30 images"):
        certify(router(), table(), GRID, tune=again)


def test_testing_stops_at_the_first_failure() -> None:
    p = np.array([[0.01, 0.04, 0.2, 0.001], [0.5, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.05]])
    assert passed(p, 0.05).tolist() == [2, 0, 4]
    assert passed(p, 0.3).tolist() == [4, 0, 4]


def test_of_all_that_passed_the_cheapest_is_taken_and_none_that_costs_more_than_the_full_scale() -> None:
    tokens = np.array([576.0, 700.0, 500.0, 500.0, 520.0, 90.0])
    assert cheapest(np.arange(6), tokens).tolist() == [0, 0, 2, 2, 2, 5]


def whole(found: Certificates, loss: str, group: str = "") -> dict[tuple[float, float], Any]:
    return {(c.epsilon, c.delta): c for c in found.accuracy if c.loss == loss and c.group == group}


def test_every_loss_epsilon_and_delta_has_its_certificate() -> None:
    found = certified()
    assert (found.outcomes, found.max_new_tokens) == ("abc", 16)
    for loss in GRID.losses:
        assert set(whole(found, loss)) == {(e, d) for e in GRID.epsilons for d in GRID.deltas}
    for c in found.accuracy:
        assert c.bound <= c.epsilon
        assert (c.setting is None) == (c.visual_tokens == 576)
    assert any(c.setting is not None for c in found.accuracy)


@pytest.mark.parametrize("loss", GRID.losses)
def test_what_allows_more_is_never_certified_for_less(loss: str) -> None:
    cells = whole(certified(), loss)
    for (epsilon, delta), cell in cells.items():
        for other in GRID.epsilons:
            if other > epsilon:
                assert cells[other, delta].visual_tokens <= cell.visual_tokens
        for other in GRID.deltas:
            if other > delta:
                assert cells[epsilon, other].visual_tokens <= cell.visual_tokens


def test_families_share_delta_and_each_has_its_own_images() -> None:
    found = certified()
    for family in ("coarse", "fine"):
        rows = table().families == family
        cells = whole(found, "regret", family)
        assert {c.n_images for c in cells.values()} == {len(np.unique(table().image_index[rows]))}
        assert cells[0.1, 0.2].smallest_n == 22  # log(0.1) / log(0.9): half of 0.2 for each of two families
    alone = certify(router(), table(), GRID, families=False)
    assert all(c.group == "" for c in alone.accuracy)


def test_too_few_images_are_refused_with_the_number_that_is_needed() -> None:
    few = certify(router(), table().take(np.arange(60)), Grid(epsilons=(0.01,), deltas=(0.05,)))
    for c in few.accuracy:
        assert c.refused
        assert (c.setting, c.visual_tokens) == (None, 576)
    assert whole(few, "regret")[0.01, 0.05].smallest_n == 299


def test_what_is_served_is_what_was_certified() -> None:
    """The price of a certificate, in a bundle, chooses what the replay chose: fallbacks included."""
    cell = whole(certified(), "regret")[0.25, 0.2]
    assert cell.setting is not None
    served = Router(replace(router().bundle, certificates=certified()), router().predictor)
    predictions = predict(router(), table())
    asked = Constraints(accuracy_drop=0.25, delta=0.2)
    chosen = served.replay(predictions, table().visual_tokens, asked)
    np.testing.assert_array_equal(chosen, router().play(predictions, table().visual_tokens, cell.setting))
    regret = at_scales(table(), "regret")[np.arange(len(table())), chosen].mean()
    assert regret <= cell.bound
    assert table().visual_tokens[np.arange(len(table())), chosen].mean() == pytest.approx(cell.visual_tokens)
    for i in range(0, len(table()), 97):
        decision = served.route(table().route_inputs(i), asked)
        assert decision.certified
        assert decision.scale == SCALES[chosen[i]]


def test_token_bounds_are_above_the_means_and_tighter_for_a_larger_delta() -> None:
    strict, loose = certified().tokens
    means = along_prices().image_tokens().mean(axis=0)[-len(strict.bounds) :]
    assert (np.array(strict.bounds) >= means).all()
    assert (np.array(strict.bounds) >= np.array(loose.bounds)).all()
    blind = replace(table(), scores=np.full_like(table().scores, 0.5))
    assert token_bounds(router(), predict(router(), blind), blind, (0.05, 0.2)) == certified().tokens


def test_other_splits_other_backbones_and_tables_without_inputs_are_refused() -> None:
    with pytest.raises(RecordError, match="holds the split 'dev'"):
        certify(router(), outcomes(20, split="dev"), GRID)
    foreign = replace(table(), manifest={**table().manifest, "backbone_fingerprint": "other"})
    with pytest.raises(BundleMismatch, match="'other'"):
        certify(router(), foreign, GRID)
    imported = replace(table(), manifest={**table().manifest, "route_inputs": "none"})
    with pytest.raises(RecordError, match="no route inputs"):
        certify(router(), imported, GRID)
    with pytest.raises(ValueError, match="epsilon must be above 0 and below 1"):
        Grid(epsilons=(0.0,))
