"""The report as a whole: its JSON, its sentences, its Markdown, tables at the edge of what can be."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.reporting import LADDER, changed, make_table, report
from training.evaluation.comparison import HULL, Estimate
from training.report import words
from training.report.analysis import Report
from training.report.examples import choose_examples
from training.report.inputs import Inputs
from training.report.markdown import markdown
from training.report.page import html_page
from training.report.rows import as_json
from training.report.write import NO_PICTURES, make_report, write_report


def test_the_json_has_the_keys_that_other_programs_rely_on() -> None:
    got = as_json(report())
    assert {"n", "n_images", "split", "fixed", "oracle", "policies", "provenance"} <= set(got)
    assert (got["n"], got["n_images"], got["split"]) == (750, 250, "dev")
    assert set(got["fixed"]) == {str(s) for s in LADDER}
    for values in got["fixed"].values():
        assert {"accuracy", "visual_tokens", "flops"} <= set(values)
    keys = {
        "name",
        "target",
        "accuracy",
        "accuracy_ci",
        "visual_tokens",
        "flops",
        "accuracy_headroom_captured",
        "token_headroom_captured",
    }
    assert all(keys <= set(policy) for policy in got["policies"])
    assert {policy["name"] for policy in got["policies"]} == {"router", "lookup", "token_budget"}
    assert set(got["oracle"]["none_sufficient"]) == {"smallest", "largest", "excluded"}
    assert got["oracle_kind"] == "plain"


def test_the_json_is_strict_and_its_numbers_are_those_of_the_table() -> None:
    got = json.loads(json.dumps(as_json(report()), allow_nan=False))
    table_ = report().inputs.table
    for s, scale in enumerate(LADDER):
        assert got["fixed"][str(scale)]["accuracy"] == pytest.approx(table_.scores[:, s].mean())
        assert got["fixed"][str(scale)]["flops"] == pytest.approx(table_.flops[:, s].mean())
    assert got["oracle"]["accuracy"] == pytest.approx(table_.scores.max(axis=1).mean())
    assert got["provenance"]["backbone_fingerprint"] == "synthetic"
    assert got["provenance"]["outcomes"].keys() == {"dev", "tune", "router-train"}
    assert len(got["provenance"]["bundle"]["onnx_sha256"]) == 64


def test_the_default_price_is_the_operating_point() -> None:
    r = report()
    assert r.operating is not None
    assert r.operating.role == "default"
    chosen = r.operating.choice
    assert r.confusion is not None
    assert r.confusion.sum(axis=0).tolist() == np.bincount(chosen, minlength=5).tolist()
    assert r.confusion[5].sum() == (r.evaluation.oracle.choice < 0).sum()


def test_families_add_up_to_the_whole() -> None:
    r = report()
    assert sum(f.n for f in r.families) == r.overall.n == 750
    for f in (*r.families, r.overall):
        assert sum(f.labels) == pytest.approx(1)
        assert sum(f.zones) == pytest.approx(1)
        assert f.labels[-1] == pytest.approx(f.zones[2])
    mean = sum(f.n * f.accuracy[0] for f in r.families) / 750
    assert mean == pytest.approx(r.overall.accuracy[0])


def test_markdown_holds_the_headline_and_tables_of_equal_width() -> None:
    got = markdown(report())
    assert f"**{words.headline(report())}**" in got
    for block in re.findall(r"(?:^\|.*\n?)+", got, flags=re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.strip().splitlines()}
        assert len(widths) == 1


def test_markdown_ends_with_the_command_and_the_date() -> None:
    made = report().provenance
    last = markdown(report()).splitlines()[-1]
    assert last.startswith(f"Made by `{made['command']}` on {made['created'][:10]} at commit `")


def test_what_is_said_to_be_more_has_an_interval_of_more() -> None:
    r = report()
    assert r.operating is not None
    for tokens, said in (
        (Estimate(-0.5, -0.6, -0.4), "50.0% more visual tokens than scale 144 (40.0% to 60.0%)"),
        (Estimate(0.5, 0.4, 0.6), "50.0% fewer visual tokens than scale 144 (40.0% to 60.0%)"),
    ):
        saved = {**r.operating.saved, "visual_tokens": tokens}
        told = words.headline(dataclasses.replace(r, operating=dataclasses.replace(r.operating, saved=saved)))
        assert told.startswith(said.replace("144", str(r.evaluation.best_scale)))


def with_gains(hull: Estimate, lookup: Estimate) -> Report:
    """The report with other gains, at the operating point and over the frontier alike."""
    r = report()
    assert r.operating is not None
    gains = {HULL: hull, "lookup": lookup}
    return dataclasses.replace(
        r,
        operating=dataclasses.replace(r.operating, gain_over=gains),
        evaluation=dataclasses.replace(r.evaluation, mean_gain=gains),
    )


BETTER, EQUAL, WORSE = Estimate(0.02, 0.01, 0.03), Estimate(0.002, -0.01, 0.01), Estimate(-0.02, -0.03, -0.01)


@pytest.mark.parametrize(
    ("hull", "lookup", "said"),
    [
        (
            BETTER,
            BETTER,
            "better than fixed scales mixed at random and a lookup by family and question kind, at",
        ),
        (
            BETTER,
            EQUAL,
            "no better than a lookup by family and question kind: the differences are within the noise",
        ),
        (EQUAL, EQUAL, "no better than fixed scales mixed at random and a lookup"),
        (EQUAL, WORSE, "worse than a lookup by family and question kind, at this setting and over its whole"),
    ],
)
def test_the_verdict_says_plainly_whether_the_router_is_any_good(
    hull: Estimate, lookup: Estimate, said: str
) -> None:
    assert said in words.verdict(with_gains(hull, lookup))


def test_numbers_read_well() -> None:
    assert words.points(0.0123) == "+1.2"
    assert words.points(-0.0123) == "−1.2"
    assert words.points(-0.0001) == "0.0"
    assert words.percent(0.871) == "87.1%"
    assert words.percent(0.5265) == words.percent(105.3 / 200) == "52.7%"
    assert words.percent(-0.5265) == "−52.7%"
    assert words.percent(-0.0004) == words.percent(-0.0) == "0.0%"
    assert words.percent(float("nan")) == "–"
    assert [words.number(v) for v in (1.0, 16.23, 576.0, 1234.5, 2.4e9, 8.36e12)] == [
        "1",
        "16.2",
        "576",
        "1,234",
        "2.4 G",
        "8.36 T",
    ]


def test_a_report_without_a_router_has_fixed_scales_lookup_and_oracle() -> None:
    r = report(router=False)
    got = as_json(r)
    assert {p["name"] for p in got["policies"]} == {"lookup"}
    assert got["operating_point"] is None
    assert got["confusion"] is None
    html = html_page(r, choose_examples(r, 5))
    assert "There is no router in this report" in html
    assert "no router in this report" in markdown(r)
    assert "fixed scales, lookup and oracle alone" in markdown(r)
    alone = Inputs(r.inputs.table, None, None, None, None, r.inputs.folders)
    said = markdown(make_report(alone, r.provenance, draws=100))
    assert "fixed scales and oracle alone" in said
    assert "operating point" not in said


def test_a_table_where_nothing_is_right_is_reported_without_headroom() -> None:
    r = changed(scores=np.zeros((750, 5)))
    got = json.loads(json.dumps(as_json(r), allow_nan=False))
    assert got["zones"] == {"all-right": 0.0, "scale-matters": 0.0, "all-wrong": 1.0}
    assert got["oracle"]["none_sufficient"]["excluded"]["visual_tokens"] is None
    assert all(p["accuracy_headroom_captured"] is None for p in got["policies"])
    assert "no accuracy headroom that counts" in html_page(r, choose_examples(r, 4))


def test_a_table_without_families_and_with_graded_scores_is_one_family() -> None:
    blank = np.full(750, "")
    scores = report().inputs.table.scores * 0.3
    r = changed(families=blank, kinds=blank, scores=scores, questions=("<image>\n" + "long " * 200,) * 750)
    assert [f.name for f in r.families] == ["(all)"]
    assert r.parts("family") == ()
    assert "(all)" not in markdown(r)
    html = html_page(r, choose_examples(r, 4))
    assert ">0.30<" in html
    assert "&lt;image&gt;" in html


def test_a_ladder_of_one_scale_has_nothing_to_route_and_still_a_page() -> None:
    table_ = report(router=False).inputs.table
    per_scale = ("answers", "scores", "visual_tokens", "answer_tokens", "flops")
    narrow = dataclasses.replace(
        table_, scales=(576,), **{name: getattr(table_, name)[:, 4:] for name in per_scale}
    )
    inputs = Inputs(narrow, None, None, None, None, report(router=False).inputs.folders)
    r = make_report(inputs, report(router=False).provenance, draws=100)
    assert as_json(r)["best_fixed_scale"] == 576
    assert "<svg" in html_page(r, [])


def test_writing_makes_three_files(tmp_path: Path) -> None:
    written = write_report(report(), tmp_path / "new" / "folder", examples=3)
    assert [p.name for p in written] == ["report.html", "report.md", "report.json"]
    assert json.loads(written[2].read_text())["n"] == 750
    assert NO_PICTURES in written[0].read_text()


def test_a_full_disk_leaves_the_report_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = write_report(report(), tmp_path, examples=0)
    before = [path.read_bytes() for path in written]

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("data.files._sync", full)
    with pytest.raises(OSError, match="No space left"):
        write_report(report(router=False), tmp_path, examples=0)
    assert [path.read_bytes() for path in written] == before
    assert len(list(tmp_path.iterdir())) == 3


def test_reliability_is_of_what_sufficient_meant_when_the_router_was_fitted() -> None:
    inputs = report().inputs
    assert inputs.router is not None
    bundle = inputs.router.bundle
    tolerant = dataclasses.replace(bundle, provenance={**bundle.provenance, "tolerance": 0.5})
    graded = dataclasses.replace(inputs.table, scores=np.clip(inputs.table.scores + 0.4, 0, 1))
    changed_inputs = dataclasses.replace(
        inputs, table=graded, router=dataclasses.replace(inputs.router, bundle=tolerant)
    )
    r = make_report(changed_inputs, report().provenance, draws=100)
    for s, scale in enumerate(LADDER):
        assert r.reliability[scale].base_rate == pytest.approx(graded.sufficient(0.5)[:, s].mean())
    assert graded.sufficient(0.5)[:, 0].mean() < 0.9
    assert "within 0.5 of the best score" in markdown(r)
    assert "of the best score" not in markdown(report())


def test_a_table_of_one_image_is_reported_with_what_it_has(tmp_path: Path) -> None:
    inputs = Inputs(make_table("dev", 1, 3), None, None, None, None, report().inputs.folders)
    got = as_json(make_report(inputs, report().provenance, draws=100))
    assert (got["n"], got["n_images"]) == (3, 1)
    low, high = got["fixed"]["576"]["accuracy_ci"]
    assert low == high == pytest.approx(got["fixed"]["576"]["accuracy"])


def test_official_figures_of_the_corpus_are_given_where_the_metric_has_some() -> None:
    assert as_json(report())["corpus"] == []
    table_ = report().inputs.table
    labels = tuple(("yes",) if i % 2 else ("no",) for i in range(750))
    wrong = tuple(("no",) if i % 2 else ("yes",) for i in range(750))
    right = table_.scores > 0
    said = np.where(right, np.array(labels), np.array(wrong))
    r = changed(answers=said, references=labels, metrics=np.full(750, "pope_llava"))
    got = as_json(r)["corpus"]
    assert [row["policy"] for row in got[:6]] == [*(f"fixed {s}" for s in LADDER), "router"]
    assert len(got) == 6 * len(r.families)
    for row in got:
        family = next(f for f in r.families if f.name == row["family"])
        if row["policy"] == "fixed 36":
            assert row["accuracy"] == pytest.approx(family.accuracy[2])
            assert f"| {family.name} fixed 36 | {words.percent(row['accuracy'])} |" in markdown(r)
        if row["policy"] == "router":
            assert row["accuracy"] == pytest.approx(family.router)
    assert "Official figures" in html_page(r, [])
    # MME needs both questions about an image: three of them are no corpus.
    assert as_json(changed(references=labels, metrics=np.full(750, "mme_lmms")))["corpus"] == []
