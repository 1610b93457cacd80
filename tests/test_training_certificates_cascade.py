"""Cascades with proof: their path, their certificates, and that what is served is what was certified."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from data.records import OutcomeTable, RecordError
from router import Bundle, Constraints, Router
from router.certificates import FULL, Certificates, Setting
from router.passes import first_certificates, first_look, reconsider
from router.policy import decide
from tests.cascading import examples, quick_hybrid, small_escalation, telling
from tests.said import Said
from training.certificates.certify import certify, predict, replays
from training.certificates.grid import Grid
from training.certificates.losses import at_scales
from training.certificates.path import cascade_path
from training.certificates.replay import Replay
from training.certificates.simulate import reversed_scales, simulate
from training.escalation.path import careful_path
from training.fit import fit

GRID = Grid(losses=("regret", "net"), epsilons=(0.05, 0.15), deltas=(0.1, 0.2))


def drop() -> Constraints:
    """A drop that is certified for the cascade below; made by name, for `Constraints` may refuse it."""
    asked = Constraints(accuracy_drop=0.15, delta=0.2)
    object.__setattr__(asked, "cascade", True)
    return asked


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
def certified() -> Certificates:
    return certify(router(), table(), GRID)


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
    path = cascade_path(router().bundle.escalation)
    assert path[0] == FULL
    taken = [c for c in found.cascade if c.setting is not None]
    assert taken
    for c in taken:
        assert c.setting in path[1:]
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
    bundle = replace(router().bundle, certificates=certified())
    cell = bundle.certificates.covering("regret", 0.15, 0.2, cascade=True)
    assert cell is not None
    assert cell.setting is not None
    predictions = predict(router(), table())
    replay = Replay.of(router(), predictions, table(), [FULL, cell.setting])
    assert replay.image_tokens()[:, 1].mean() == pytest.approx(cell.visual_tokens)
    regret = at_scales(table(), "regret")[np.arange(len(table())), replay.choices[1]]
    assert regret.mean() <= cell.bound
    thought_over = 0
    for i in range(0, len(table()), 9):
        scales, spent = served(bundle, table(), i)
        assert scales[-1] == table().scales[replay.choices[1, i]]
        assert spent == replay.tokens[1, i]
        thought_over += len(scales) > 1
    assert thought_over > 20


def served(bundle: Bundle, some: OutcomeTable, i: int) -> tuple[list[int], int]:
    """The scales of sample ``i``'s passes, as the router's parts make them, and what they spend."""
    inputs, known, asked = some.route_inputs(i), router(), drop()
    predictions = known.predict(bundle.features.vector(inputs)[None])
    decision = decide(
        predictions,
        inputs.visual_tokens,
        known.ladder,
        first_look(asked, bundle.escalation),
        bundle.prices,
        fallback="unlike those that are known" if known.is_novel(predictions)[0] else None,
        certificates=first_certificates(asked, bundle.certificates, bundle.escalation),
    )
    assert decision.certified
    tried: list[int] = []
    while True:
        then = reconsider(
            decision,
            Said.at(some, i, decision.scale),
            asked,
            known.ladder,
            inputs.visual_tokens,
            known.second_look,
            tried,
            bundle.certificates,
        )
        tried.append(decision.scale)
        if then is decision:
            return tried, sum(inputs.visual_tokens[known.ladder.index(scale)] for scale in tried)
        decision = then


def test_a_drop_that_no_cascade_is_certified_for_is_answered_once_at_the_full_scale() -> None:
    bundle = replace(router().bundle, certificates=replace(certified(), cascade=()))
    known, inputs, asked = router(), table().route_inputs(0), drop()
    decision = decide(
        known.predict(bundle.features.vector(inputs)[None]),
        inputs.visual_tokens,
        known.ladder,
        first_look(asked, bundle.escalation),
        bundle.prices,
        certificates=first_certificates(asked, bundle.certificates, bundle.escalation),
    )
    assert (decision.scale, decision.certified) == (576, False)
    answer = Said.at(table(), 0, 576)
    again = reconsider(decision, answer, asked, known.ladder, inputs.visual_tokens, known.second_look)
    assert again is decision


def test_cascades_of_a_good_and_of_a_bad_router_are_wrong_no_more_often_than_delta() -> None:
    predictions = predict(router(), table())
    bad = replays(router(), table(), reversed_scales(predictions))
    policies = replays(router(), table(), predictions) | {f"bad {name}": bad[name] for name in bad}
    assert len(policies) == 4
    rows = simulate(policies, Grid(("regret", "net"), (0.05, 0.2), (0.1, 0.3)), n_images=150, draws=100)
    assert len(rows) == 32
    assert all(row.holds for row in rows)
    good = [row for row in rows if row.policy == "lightgbm_per_scale, cascade" and row.epsilon == 0.2]
    assert all(row.known <= row.tokens < row.full == 576 for row in good)


def test_a_router_without_a_second_look_plays_no_cascade() -> None:
    alone = Router(replace(router().bundle, escalation=None), router().predictor)
    predictions = predict(alone, table())
    assert len(replays(alone, table(), predictions)) == 1
    assert certify(alone, table(), GRID, families=False).cascade == ()
    with pytest.raises(RecordError, match="no second look: fit it with --escalation"):
        Replay.of(alone, predictions, table(), [FULL, Setting(0.0, 0.1)])
