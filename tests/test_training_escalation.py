"""The second look as it is learned, and the cascades among the candidates."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from router import Constraints, Router, embedded_bundle
from router.bundle import Bundle
from router.escalation import SecondLook
from tests.cascading import examples, quick_hybrid, small_escalation, small_hybrid, telling
from tests.said import Said
from training.calibrate import calibrated, fit_calibration
from training.candidates import candidates
from training.candidates.base import Candidate, Examples, Frontier, by_name, log_loss
from training.candidates.boosting import GRID
from training.candidates.lightgbm_per_scale import LightGBMPerScale
from training.candidates.lightgbm_shared import LightGBMShared
from training.candidates.lookup import Lookup
from training.escalation.attempts import attempts, held_out
from training.escalation.candidates import HybridCascade, PlainCascade
from training.escalation.fit import learner, replay
from training.evaluation.frontier import log_spaced_mean, path_accuracy
from training.evaluation.settings import Settings, by_expected_score, sweep
from training.export import ExportError
from training.fit import fit


def dev_examples() -> Examples:
    return examples(telling(200, split="dev"))


def accuracy(path: Settings, scores: np.ndarray) -> np.ndarray:
    return np.array([scores[np.arange(len(scores)), choice].mean() for choice in path.choices])


def tokens(path: Settings, visual: np.ndarray) -> np.ndarray:
    rows = np.arange(len(visual))
    tried = np.zeros((*path.choices.shape, visual.shape[1]), bool) if path.tried is None else path.tried
    return np.array(
        [
            (visual[rows, choice] + np.where(before, visual, 0).sum(axis=1)).mean()
            for choice, before in zip(path.choices, tried, strict=True)
        ]
    )


def area(path: Settings, scores: np.ndarray, visual: np.ndarray) -> float:
    at = np.geomspace(4, 300, 41)
    return float(log_spaced_mean(path_accuracy(tokens(path, visual), accuracy(path, scores), at), at))


def test_there_is_a_row_for_every_sample_at_every_scale_but_the_last() -> None:
    some = examples(telling(20))
    raw = small_hybrid().unseen
    first = replace(raw, **{k: getattr(raw, k)[: len(some)] for k in ("sufficient", "score", "novelty")})
    rows = attempts(some, first)
    n = len(some)
    assert rows.features.shape[0] == 4 * n == len(rows)
    assert rows.features[:, 10].tolist() == np.repeat([0.0, 1, 2, 3], n).tolist()
    np.testing.assert_array_equal(rows.scores[n : 2 * n], some.scores)
    np.testing.assert_array_equal(rows.features[n : 2 * n, -4], some.table.mean_logprob[:, 1])
    np.testing.assert_array_equal(
        np.array(rows.table.sample_ids)[rows.groups == rows.groups[0]],
        np.array(list(some.table.sample_ids[:4]) * 4),
    )


def test_what_was_said_of_held_out_samples_is_less_sure_than_what_is_said_of_fitted_ones() -> None:
    fitted = small_hybrid()
    seen = fitted.predict(fitted.examples).score
    unseen = fitted.unseen.score
    assert unseen.shape == seen.shape
    assert log_loss(fitted.examples.scores, seen) < log_loss(fitted.examples.scores, unseen)


def test_an_answer_tells_more_about_itself_than_was_known_before() -> None:
    fitted, dev = small_escalation(), dev_examples()
    _, _, hybrid = small_hybrid().looks(examples(telling(150, split="tune")), dev)
    for scale in range(4):
        before = log_loss(dev.scores[:, scale], hybrid.expected[:, scale])
        assert log_loss(dev.scores[:, scale], hybrid.given[:, scale, scale]) < before - 0.05
    assert fitted.worst_parity <= 1e-5


def test_the_hybrid_is_above_prediction_alone_and_above_the_plain_cascade() -> None:
    tune, dev = examples(telling(150, split="tune")), dev_examples()
    _, path = small_hybrid().frontier(tune, dev)
    visual = dev.table.visual_tokens
    alone = sweep("alone", by_expected_score(small_hybrid().looks(tune, dev)[2].expected, visual), visual)
    plain = PlainCascade().fit(dev, seed=0, threads=1)
    assert isinstance(plain, Frontier)
    hybrid, alone_area = area(path, dev.scores, visual), area(alone, dev.scores, visual)
    assert hybrid > alone_area + 0.01
    assert hybrid > area(plain.frontier(tune, dev)[1], dev.scores, visual) + 0.01


def test_the_path_runs_from_the_smallest_scale_for_all_and_its_cost_rises() -> None:
    tune, dev = examples(telling(150, split="tune")), dev_examples()
    on_tune, path = small_hybrid().frontier(tune, dev)
    assert path.name == "hybrid"
    assert path.targets == on_tune.targets
    assert (path.choices[0] == 0).all()
    assert path.passes[0].max() == 1
    assert path.passes.max() == 3
    spent = tokens(path, dev.table.visual_tokens)
    assert (np.diff(spent) > 0).all()
    assert path.tried is not None
    assert not path.tried[np.arange(len(path.choices))[:, None], np.arange(len(dev)), path.choices].any()


def test_prices_say_what_all_passes_spend_on_tune() -> None:
    fitted, tune = small_escalation(), examples(telling(150, split="tune"))
    known = fitted.escalation
    price = known.prices.for_budget(40)
    run = fitted.hybrid.passes(price, known.optimism, known.threshold)
    assert 20 < run.tokens(tune.table.visual_tokens).mean() <= 40
    assert list(known.prices.mean_tokens) == sorted(known.prices.mean_tokens, reverse=True)


def test_samples_that_fall_back_take_the_full_scale_once() -> None:
    fitted = small_escalation().hybrid
    all_of_them = replace(fitted, fallback=np.ones(len(fitted.fallback), np.bool_))
    run = all_of_them.passes(0.001, 2.0, 0.0)
    assert (run.choice == 4).all()
    assert not run.tried.any()


def test_the_graph_is_what_the_replay_was_made_of() -> None:
    fitted = small_escalation()
    again = SecondLook(fitted.escalation, 5)
    tune = examples(telling(150, split="tune"))
    raw = small_hybrid().predict(tune)
    first = calibrated(fit_calibration(raw, tune.sufficient, tune.scores, tune.groups, 0), raw)
    hybrid = replay(again, tune.table, first, np.zeros(len(tune), np.bool_))
    np.testing.assert_array_equal(hybrid.given, fitted.hybrid.given)
    assert again.escalation.onnx == fitted.look.escalation.onnx


def test_a_comparison_compares_what_is_served_within_the_tolerance_of_the_export() -> None:
    fitted, tune = small_escalation(), examples(telling(150, split="tune"))
    look, on_tune, _ = small_hybrid().looks(tune, dev_examples())
    np.testing.assert_allclose(on_tune.given, fitted.hybrid.given, atol=1e-5)
    assert on_tune.tuned(tune.scores) == (fitted.escalation.optimism, fitted.escalation.threshold)
    assert look.logits.flops == fitted.logits.flops
    assert look.notes["trees"] == fitted.notes["trees"]
    assert HybridCascade().first == by_name(Bundle.load(embedded_bundle()).candidate, candidates())
    assert HybridCascade().second == learner()


def test_a_settled_hybrid_searches_in_neither_of_its_looks() -> None:
    tune = examples(telling(150, split="tune"))
    small_hybrid().looks(tune, tune)
    notes = {**small_hybrid().notes, "setting": GRID[1]}
    notes["second"] = {**notes["second"], "setting": GRID[2], "trunk_setting": GRID[0]}
    found = HybridCascade(first=LightGBMPerScale(), second=LightGBMShared()).settled(notes)
    assert isinstance(found.first, LightGBMPerScale)
    assert isinstance(found.second, LightGBMShared)
    assert (found.first.grid, found.second.grid) == ((GRID[1],), (GRID[2],))
    assert found.second.trunk_grid == (GRID[0],)
    assert found.first.trees == ()
    assert found.reading(("question",)).groups == ("question",)


def test_the_plain_cascade_names_what_its_settings_spend_on_tune() -> None:
    tune, dev = examples(telling(150, split="tune")), dev_examples()
    on_tune, path = PlainCascade().fit(dev, seed=0, threads=1).frontier(tune, dev)
    assert path.name == "plain_cascade"
    assert path.targets == on_tune.targets
    np.testing.assert_allclose(tokens(on_tune, tune.table.visual_tokens), on_tune.targets)
    assert list(on_tune.targets) == sorted(on_tune.targets)


def test_a_first_look_without_held_out_predictions_is_refused() -> None:
    cascades: list[Candidate] = [PlainCascade(), HybridCascade()]
    assert [c.name for c in cascades] == ["plain_cascade", "hybrid"]
    with pytest.raises(ExportError, match="'lookup' keeps no predictions of held-out samples"):
        HybridCascade(first=Lookup()).fit(examples(telling(20)), seed=0, threads=1)


def test_a_fitted_bundle_serves_what_the_replay_says() -> None:
    quick = quick_hybrid()
    result = fit(telling(200), telling(100, split="tune"), quick.first, threads=1, escalation=True)
    known, router = result.bundle.escalation, Router.of(result.bundle)
    assert known is not None
    assert result.bundle.provenance["escalation"]["worst_parity"] <= 1e-5
    dev = dev_examples()
    first = router.predict(router.bundle.features.matrix(dev.table))
    look = SecondLook(known, 5)
    run = replay(look, dev.table, first, router.is_novel(first)).passes(
        0.0005, known.optimism, known.threshold
    )
    limits, thought_over = Constraints(cascade=True, price=0.0005), 0
    for i in range(60):
        inputs = dev.table.route_inputs(i)
        tried: list[int] = []
        decision = router.route(inputs, limits)
        while (
            then := router.reconsider(decision, Said.at(dev.table, i, decision.scale), inputs, limits, tried)
        ) is not decision:
            tried.append(decision.scale)
            decision = then
        assert dev.table.scales.index(decision.scale) == run.choice[i]
        assert [dev.table.scales[s] for s in np.flatnonzero(run.tried[i])] == tried
        thought_over += bool(tried)
    assert thought_over > 5


def test_a_candidate_that_kept_nothing_of_its_folds_gets_no_second_look() -> None:
    bare = SimpleNamespace(logits=small_hybrid().logits, notes={})
    with pytest.raises(ExportError, match="'bare' keeps no predictions of held-out samples"):
        held_out(bare, "bare")
