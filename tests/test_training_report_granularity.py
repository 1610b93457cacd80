"""How many tokens the data needs: zones, the oracle's choices, dips, and difficulty as it was drawn."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest

from data.records import OutcomeTable
from tests.reporting import LADDER, changed, make_table, report
from training.evaluation.oracle import Oracle
from training.report.difficulty import bin_of, measures
from training.report.granularity import Granularity, falls_somewhere
from training.report.markdown import markdown
from training.report.page import html_page
from training.report.rows import as_json
from training.report.words import percent


def small(scores: list[list[float]], **difficulty: list[float]) -> tuple[OutcomeTable, Oracle]:
    """A table of as many questions as there are rows of scores."""
    table = make_table("dev", len(scores), 3).take(np.arange(len(scores)))
    drawn = {name: np.array(values, np.float32) for name, values in difficulty.items()}
    table = dataclasses.replace(table, scores=np.array(scores, np.float64), difficulty=drawn)
    return table, Oracle.of(table.scores, table.sufficient())


def test_a_score_that_falls_on_the_way_up_is_not_monotone() -> None:
    scores = np.array([[0, 0, 1], [0, 1, 0], [1, 1, 1], [0.3, 0.3, 0.1 + 0.2], [0.9, 0.6, 1.0]])
    assert falls_somewhere(scores).tolist() == [False, True, False, False, True]


def test_shares_by_hand() -> None:
    table, oracle = small([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]])
    g = Granularity.of(table, oracle, draws=50, seed=0)
    assert [g.zones[z].value for z in ("all-right", "scale-matters", "all-wrong")] == [0.25, 0.5, 0.25]
    assert g.settled.value == 0.5
    assert g.non_monotone.value == 0.25
    assert {scale: c.value for scale, c in g.choice.items()} == {
        1: pytest.approx(1 / 3),
        9: 0.0,
        36: pytest.approx(2 / 3),
        144: 0.0,
        576: 0.0,
    }
    assert g.settled.low <= 0.5 <= g.settled.high


def test_resamples_without_an_answered_question_say_nothing_about_the_oracles_choice() -> None:
    rows = [[0.0] * 5 for _ in range(9)]
    table, oracle = small([*rows, [0, 1, 1, 1, 1]])
    g = Granularity.of(table, oracle, draws=100, seed=0)
    assert (g.choice[9].value, g.choice[9].low, g.choice[9].high) == (1.0, 1.0, 1.0)
    table, oracle = small(rows)
    assert math.isnan(Granularity.of(table, oracle, draws=100, seed=0).choice[9].value)


def test_values_are_cut_into_bins_of_about_equally_many_and_equal_ones_stay_together() -> None:
    assert bin_of(np.array([3.0, 1, 2, 1])).tolist() == [2, 0, 1, 0]
    sizes = np.bincount(bin_of(np.random.default_rng(0).random(6000)))
    assert len(sizes) == 6
    assert sizes.min() > 980
    mostly = np.array([5.0] * 90 + list(range(10)))
    which = bin_of(mostly)
    assert len(set(which[mostly == 5.0].tolist())) == 1
    assert (np.diff(which[np.argsort(mostly, kind="stable")]) >= 0).all()


def test_a_measure_says_where_its_labels_lie_and_which_families_draw_it() -> None:
    scores = [[1.0] * 5, [0.0, 0, 0, 0, 1], [0.0] * 5, [1.0] * 5]
    table, oracle = small(scores, height=[60, 8, 8, math.nan], n=[math.nan] * 4, size=[1, 1, 1, 1])
    found = measures(table, oracle)
    assert [(m.name, m.n) for m in found] == [("size", 4), ("height", 3)]  # n was never drawn
    height = found[1]
    assert [(b.low, b.high, b.n) for b in height.bins] == [(8, 8, 2), (60, 60, 1)]
    assert list(height.bins[0].labels) == [0, 0, 0, 0, 0.5, 0.5]
    assert list(height.bins[1].labels) == [1, 0, 0, 0, 0, 0]
    assert list(height.bins[0].accuracy) == [0, 0, 0, 0, 0.5]
    assert set(height.families) == set(table.families[:3].tolist())


def drawn() -> Any:
    """The report of a table whose questions record how large their thing is; some record nothing."""
    rng = np.random.default_rng(2)
    height = rng.uniform(8, 60, 750).astype(np.float32)
    height[:100] = np.nan
    return changed(difficulty={"height <px>": height, "n": rng.integers(1, 5, 750).astype(np.float32)})


def test_the_page_draws_difficulty_with_a_text_alternative_and_escapes_its_name() -> None:
    r = drawn()
    page = html_page(r, [])
    assert "What makes a question need more" in page
    assert "Smallest sufficient scale by height &lt;px&gt;. " in page
    assert "height <px>" not in page
    assert "Smallest sufficient scale by n. 1: scale 1 " in page
    assert 'id="difficulty-1-' in page
    assert "What makes a question need more" not in html_page(report(), [])


def test_measures_of_the_projects_own_data_set_are_explained() -> None:
    assert "n: 750 questions" in html_page(drawn(), [])
    r = drawn()
    own = dataclasses.replace(r.inputs.table, datasets=np.full(len(r.inputs.table), "scalebench"))
    page = html_page(dataclasses.replace(r, inputs=dataclasses.replace(r.inputs, table=own)), [])
    assert "n, things to tell apart: 750 questions" in page
    assert "height &lt;px&gt;: 650 questions" in page


def test_the_json_has_granularity_and_difficulty() -> None:
    got = json.loads(json.dumps(as_json(drawn()), allow_nan=False))
    assert [(m["name"], m["n"], len(m["bins"])) for m in got["difficulty"]] == [
        ("n", 750, 4),
        ("height <px>", 650, 6),
    ]
    for measure in got["difficulty"]:
        assert sum(b["n"] for b in measure["bins"]) == measure["n"]
        for b in measure["bins"]:
            assert sum(b["labels"].values()) == pytest.approx(1)
    g = got["granularity"]
    assert g["zones"]["all-right"]["value"] == pytest.approx(got["zones"]["all-right"])
    assert sum(share["value"] for share in g["oracle_choice"].values()) == pytest.approx(1)
    assert g["settled"]["value"] == pytest.approx(got["zones"]["all-right"] + got["zones"]["all-wrong"])
    mean = sum(f["n"] * f["non_monotone"] for f in got["families"]) / 750
    assert g["non_monotone"]["value"] == pytest.approx(mean)


def test_markdown_and_page_show_the_oracles_choices_by_family() -> None:
    got = as_json(report())
    for whole in (markdown(report()), html_page(report(), [])):
        assert "Share of the answered questions whose smallest sufficient scale is each scale." in whole
        assert "non-monotone" in whole
        settled = got["granularity"]["settled"]
        assert f"{percent(settled['value'])} of the questions ({percent(settled['ci'][0])} to" in whole
    for family in got["families"]:
        assert sum(family["oracle_choice"].values()) == pytest.approx(1)
        assert set(family["oracle_choice"]) == {str(s) for s in LADDER}
