"""Cascades with proof: their path, their certificates, and that what is served is what was certified."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from data.records import OutcomeTable, RecordError
from router import Constraints, Router
from router.certificates import FULL, Certificates, Setting
from tests.cascading import examples, quick_hybrid, small_escalation, telling
from tests.said import Said
from training.certificates.bad import reversed_scales
from training.certificates.certify import certify
from training.certificates.grid import Grid
from training.certificates.losses import at_scales
from training.certificates.path import CASCADES
from training.certificates.policies import policies, predict
from training.certificates.replay import Replay
from training.certificates.simulate import simulate
from training.escalation.path import careful_path
from training.fit import fit

GRID = Grid(losses=("regret", "net"), epsilons=(0.05, 0.15), deltas=(0.1, 0.2))


DROP = Constraints(accuracy_drop=0.15, delta=0.2, cascade=True)
"""One that is certified for the cascade below."""


@cache
def router() -> Router:
    """Of a bundle with a second look that was fitted for it."""
    quick = quick_hybrid()
    made = fit(telling(200), telling(100, split="tune"), quick.first, threads=1, escalation=True)
    return Router.of(made.bundle)


@cache
def table() -> OutcomeTable:
    made = telling(400, split="certify")
    return replace(made, manifest={**made.manifest, "max_new_tokens": 16})


@cache
def tune() -> OutcomeTable:
    return telling(100, split="tune")


@cache
def certified() -> Certificates:
    return certify(router(), table(), GRID, tune=tune())


def test_without_tune_a_cascade_is_certified_along_the_path_that_came_with_it() -> None:
    found = certify(router(), table(), GRID, families=False)
    taken = {c.setting for c in found.cascade if c.setting is not None}
    known = router().bundle.escalation
    assert taken
    assert known is not None
    assert taken <= set(known.path)


def test_the_path_loses_more_and_spends_less_with_every_setting() -> None:
    known, tune = small_escalation(), examples(telling(150, split="tune"))
    path = known.escalation.path
    assert path == careful_path(known.hybrid, tune.scores, known.escalation.optimism)
    assert 10 < len(path) <= 41
    assert len({setting.threshold for setting in path}) > 1  # prices alone would not do
    rows, scores = np.arange(len(tune)), tune.scores
    runs = [known.hybrid.passes(s.price, known.escalation.optimism, s.threshold or 0.0) for s in path]
    spent = [run.tokens(known.hybrid.visual_tokens).mean() for run in runs]
    lost = [np.maximum(scores[:, -1] - scores[rows, run.choice], 0).mean() for run in runs]
    assert spent[0] < 576
    assert (np.diff(spent) < 0).all()
    assert (np.diff(lost) > 0).all()


def test_a_cascade_has_certificates_of_its_own_beside_those_of_one_pass() -> None:
    found = certified()
    assert len(found.cascade) == len(found.accuracy) == 3 * 8  # two families and all
    taken = [c for c in found.cascade if c.setting is not None]
    assert taken
    for c in taken:
        assert c.setting in CASCADES
        assert c.bound <= c.epsilon
        assert c.visual_tokens < 576
    assert {c.setting.threshold for c in found.accuracy if c.setting is not None} == {None}


def test_an_answers_own_confidence_makes_the_same_promise_cheaper() -> None:
    alone, cascade = (certified().covering("regret", 0.15, 0.2, cascade=on) for on in (False, True))
    assert alone is not None
    assert cascade is not None
    assert cascade.visual_tokens < alone.visual_tokens


def test_what_is_served_is_what_was_certified() -> None:
    """The passes of requests, one by one, against the replay at the certified setting: fallbacks included."""
    known = Router.of(replace(router().bundle, certificates=certified()))
    cell = known.bundle.certificates.covering("regret", 0.15, 0.2, cascade=True)
    assert cell is not None
    assert cell.setting is not None
    predictions = predict(router(), table())
    replay = Replay.of(router(), predictions, table(), [FULL, cell.setting])
    assert replay.image_tokens()[:, 1].mean() == pytest.approx(cell.visual_tokens)
    regret = at_scales(table(), "regret")[np.arange(len(table())), replay.choices[1]]
    assert regret.mean() <= cell.bound
    thought_over = 0
    for i in range(0, len(table()), 9):
        scales, spent = served(known, table(), i)
        assert scales[-1] == table().scales[replay.choices[1, i]]
        assert spent == replay.tokens[1, i]
        thought_over += len(scales) > 1
    assert thought_over > 20


def served(known: Router, some: OutcomeTable, i: int) -> tuple[list[int], int]:
    """The scales of sample ``i``'s passes, as the router decides them, and what they spend."""
    inputs, tried = some.route_inputs(i), list[int]()
    decision = known.first(inputs, DROP)
    while True:
        assert decision.certified
        assert decision.policy == "cascade"
        then = known.reconsider(decision, Said.at(some, i, decision.scale), inputs, DROP, tried)
        tried.append(decision.scale)
        assert then is decision or "the certified setting (" in then.reason
        if then is decision:
            return tried, sum(inputs.visual_tokens[known.ladder.index(scale)] for scale in tried)
        decision = then


def test_a_drop_that_no_cascade_is_certified_for_is_answered_once_at_the_full_scale() -> None:
    known = Router.of(replace(router().bundle, certificates=replace(certified(), cascade=())))
    inputs = table().route_inputs(0)
    decision = known.first(inputs, DROP)
    assert (decision.scale, decision.certified) == (576, False)
    assert "no certificate of this router covers that" in decision.reason
    assert known.reconsider(decision, Said.at(table(), 0, 576), inputs, DROP) is decision


def test_the_first_decision_of_a_cascade_alone_is_not_certified() -> None:
    known, inputs = Router.of(replace(router().bundle, certificates=certified())), table().route_inputs(0)
    first, alone = known.first(inputs, DROP), known.route(inputs, DROP)
    assert first.certified
    assert alone == replace(
        first, certified=False, reason=f"{first.reason}; not certified, because no answer is thought over"
    )


def test_a_cascade_that_is_kept_from_what_was_certified_is_not_certified() -> None:
    known, inputs = Router.of(replace(router().bundle, certificates=certified())), table().route_inputs(0)
    assert known.first(inputs, DROP).certified
    for more in ({"max_visual_tokens": 576}, {"min_scale": 1}, {"max_scale": 576}, {"greedy": False}):
        assert not known.first(inputs, replace(DROP, **more)).certified
    assert not known.first(inputs, replace(DROP, max_new_tokens=15)).certified
    once = known.route(inputs, replace(DROP, cascade=False))
    assert once.certified
    assert once.policy == "accuracy_drop"


def test_cascades_of_a_good_and_of_a_bad_router_are_wrong_no_more_often_than_delta() -> None:
    predictions = predict(router(), table())
    grid, known = Grid(("regret", "net"), (0.05, 0.2), (0.1, 0.3)), {}
    for name, said in (("good", predictions), ("bad", reversed_scales(predictions))):
        for policy in policies(router(), said, table(), grid, tune()):
            known[name, policy.cascade] = policy.replay, policy.order
    assert len(known) == 4
    named = {f"{name} {cascade}": policy for (name, cascade), policy in known.items()}
    rows = simulate(named, grid, n_images=150, draws=100)
    assert len(rows) == 32
    assert all(row.holds for row in rows)
    good = [row for row in rows if row.policy == "good True" and row.epsilon == 0.2]
    assert all(row.known <= row.tokens < row.full == 576 for row in good)


def test_a_router_without_a_second_look_plays_no_cascade() -> None:
    alone = Router(replace(router().bundle, escalation=None), router().predictor)
    predictions = predict(alone, table())
    for beside in (None, tune()):
        assert [policy.cascade for policy in policies(alone, predictions, table(), GRID, beside)] == [False]
    assert certify(alone, table(), GRID, families=False).cascade == ()
    with pytest.raises(RecordError, match="no second look: fit it with --escalation"):
        Replay.of(alone, predictions, table(), [FULL, Setting(0.0, 0.1)])
