"""The report as a whole: its JSON, its page, its sentences, its pictures, its command."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from data.records import Sample
from tests.reporting import LADDER, world
from training.cli.report import command
from training.evaluation.comparison import HULL, Estimate
from training.report import words
from training.report.analysis import Report
from training.report.examples import choose_examples, data_uri, with_pictures
from training.report.inputs import Inputs, load_inputs
from training.report.markdown import markdown
from training.report.markup import Raw, table
from training.report.openings import record_opening
from training.report.page import html_page
from training.report.palette import THEMES, key_colours, ramp
from training.report.provenance import collect
from training.report.rows import as_json
from training.report.write import NO_PICTURES, make_report, write_report

DRAWS = 200


@functools.cache
def report(*, router: bool = True) -> Report:
    inputs = load_inputs(world() / "outcomes", world() / "bundle" if router else None)
    provenance = collect(inputs, command="m3-train report --out out", draws=DRAWS, seed=0)
    return make_report(inputs, provenance, draws=DRAWS)


@functools.cache
def page() -> str:
    return html_page(report(), choose_examples(report(), 6), NO_PICTURES)


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


class _Page(HTMLParser):
    """Checks that tags close in order, and collects what a page fetches and what it says of pictures."""

    VOID = frozenset({"meta", "img", "br", "link", "path", "use", "rect"})

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.ids: list[str] = []
        self.fetched: list[str] = []
        self.silent: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if values.get("id"):
            self.ids.append(str(values["id"]))
        link = values.get("href") or values.get("xlink:href") or values.get("src")
        if link and not link.startswith(("#", "data:")):
            self.fetched.append(link)
        if (tag == "img" and not values.get("alt")) or (tag == "svg" and not values.get("aria-label")):
            self.silent.append(tag)
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.stack.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.stack.pop() == tag


def test_the_page_is_well_formed_fetches_nothing_and_describes_every_picture() -> None:
    parsed = _Page()
    parsed.feed(page())
    assert parsed.stack == []
    assert parsed.fetched == []
    assert parsed.silent == []
    assert len(parsed.ids) == len(set(parsed.ids))
    assert "<script" not in page()
    assert "@import" not in page()


def test_no_key_colour_of_the_figures_is_left_on_the_page() -> None:
    assert not re.search(r"#f0[0-9a-f]{2}a7", page())
    assert "prefers-color-scheme: dark" in page()
    for theme in THEMES:
        assert ramp(theme, 5)[0] in page()
    assert len(set(key_colours(5).values())) == len(key_colours(5))


def test_text_of_the_data_is_escaped_on_the_page() -> None:
    assert "<1>?" not in page()
    assert "&lt;1&gt;?" in page()
    assert "<b>" in table(["a"], [["x", Raw("<b>y</b>")]], "caption <i>")
    assert "<i>" not in table(["a"], [["x"]], "caption <i>")


def test_the_page_says_when_pictures_could_not_be_made_again() -> None:
    assert NO_PICTURES in page()
    assert NO_PICTURES not in html_page(report(), choose_examples(report(), 2))


def test_the_page_names_the_denominator_and_where_its_settings_come_from() -> None:
    assert "plain oracle" in page()
    assert "reachable oracle needs a second replicate" in page()
    assert "m3-train report --out out" in page()


def test_words_do_not_depend_on_the_machine() -> None:
    assert str(world()) not in page() + markdown(report()) + json.dumps(as_json(report()))


def test_markdown_holds_the_headline_and_tables_of_equal_width() -> None:
    got = markdown(report())
    assert f"**{words.headline(report())}**" in got
    for block in re.findall(r"(?:^\|.*\n?)+", got, flags=re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.strip().splitlines()}
        assert len(widths) == 1


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


def changed(**changes: Any) -> Report:
    """The report of the same table with some of its arrays exchanged."""
    inputs = dataclasses.replace(report().inputs, table=dataclasses.replace(report().inputs.table, **changes))
    return make_report(inputs, report().provenance, draws=100)


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


def test_examples_are_of_different_images_and_of_every_kind() -> None:
    chosen = choose_examples(report(), 6)
    table_ = report().inputs.table
    assert len({int(table_.image_index[e.row]) for e in chosen}) == len(chosen) == 6
    assert len({e.title for e in chosen}) == 6
    assert choose_examples(report(), 6) == chosen
    assert choose_examples(report(), 6, seed=1) != chosen


def test_pictures_are_found_by_sample_and_reading_stops_with_the_last() -> None:
    chosen = choose_examples(report(), 2)
    table_ = report().inputs.table
    asked = []

    def samples() -> Iterator[Sample]:
        for sample_id in table_.sample_ids:
            asked.append(sample_id)
            yield Sample(
                sample_id,
                "",
                lambda: Image.new("RGB", (1000, 500)),
                "",
                (),
                "exact_match",
                "synthetic",
                "dev",
            )

    shown = with_pictures(chosen, table_, samples())
    assert all(e.picture.startswith("data:image/") for e in shown)
    assert len(asked) <= max(e.row for e in chosen) + 2


def test_pictures_are_small_and_take_the_better_format() -> None:
    flat = data_uri(Image.new("RGB", (2000, 1000), "red"))
    assert flat.startswith("data:image/png")
    assert len(flat) < 4000
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8))
    assert data_uri(noise).startswith("data:image/jpeg")


def test_writing_makes_three_files(tmp_path: Path) -> None:
    written = write_report(report(), tmp_path / "new" / "folder", examples=3)
    assert [p.name for p in written] == ["report.html", "report.md", "report.json"]
    assert json.loads(written[2].read_text())["n"] == 750
    assert NO_PICTURES in written[0].read_text()


def test_openings_are_appended_with_commit_and_hashes(tmp_path: Path) -> None:
    log = tmp_path / "docs" / "openings.jsonl"
    provenance = report().provenance
    assert record_opening(provenance, log) == 1
    assert record_opening(provenance, log) == 2
    line = json.loads(log.read_text().splitlines()[0])
    assert set(line) >= {"created", "commit", "backbone_fingerprint", "outcomes", "bundle", "command"}
    assert line["outcomes"]["dev"]["manifest_sha256"]
    assert line["bundle"]["onnx_sha256"]


def app() -> typer.Typer:
    made = typer.Typer()
    made.command()(command)
    return made


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app(), [str(a) for a in arguments], env={"COLUMNS": "200"})


def test_the_command_writes_the_report_and_says_the_headline(tmp_path: Path) -> None:
    home = world()
    done = run(
        "--outcomes", home / "outcomes", "--bundle", home / "bundle", "--out", tmp_path, "--draws", 100
    )
    assert done.exit_code == 0, done.output
    assert "fewer visual tokens than scale" in done.output
    said = json.loads((tmp_path / "report.json").read_text())["provenance"]["command"]
    assert said.startswith("m3-train report --outcomes outcomes --bundle bundle --draws 100 --out ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--split", "test"], "--final"),
        (["--split", "certify"], "splits there: dev"),
        (["--bundle", "/nowhere/at/all"], "There is no bundle"),
    ],
)
def test_what_is_wrong_is_one_line_and_an_exit_code(tmp_path: Path, arguments: list[str], said: str) -> None:
    home = world()
    done = run("--outcomes", home / "outcomes", "--bundle", home / "bundle", "--out", tmp_path, *arguments)
    assert done.exit_code == 1
    assert said in done.output
    assert "Traceback" not in done.output
    assert not list(tmp_path.iterdir())


def test_final_logs_the_opening_before_it_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from training.report import openings

    monkeypatch.setattr(openings, "PROJECT", tmp_path)
    monkeypatch.chdir(tmp_path)
    home = world()
    done = run("--final", "--outcomes", home / "outcomes", "--bundle", "none", "--out", "out", "--draws", 100)
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "out" / "report.json").read_text())["split"] == "test"
    (line,) = (tmp_path / "docs" / "test_openings.jsonl").read_text().splitlines()
    assert json.loads(line)["bundle"] is None
    assert "Opening 1 of the test split" in done.output
