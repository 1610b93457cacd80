"""The page: well-formed, offline, accessible, true to its JSON, whatever text the data holds."""

from __future__ import annotations

import functools
import html
import json
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np

from tests.reporting import changed, report, world
from training.report import words
from training.report.examples import choose_examples
from training.report.markdown import markdown
from training.report.markup import Raw, table
from training.report.page import html_page
from training.report.palette import THEMES, key_colours, ramp
from training.report.rows import as_json
from training.report.write import NO_PICTURES


@functools.cache
def page() -> str:
    return html_page(report(), choose_examples(report(), 6), NO_PICTURES)


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
    assert "reachable oracle needs another replicate" in page()
    assert "m3-train report --out out" in page()


def test_words_do_not_depend_on_the_machine() -> None:
    assert str(world()) not in page() + markdown(report()) + json.dumps(as_json(report()))


def test_the_page_has_a_main_landmark_one_h1_and_a_header_for_every_row() -> None:
    assert page().count("<main>") == page().count("</main>") == page().count("<h1>") == 1
    for row in re.findall(r"<tr.*?</tr>", page(), flags=re.DOTALL):
        assert "<th scope=" in row


def rows(whole: str) -> dict[tuple[str, str], dict[str, str]]:
    """(first heading, row's name) -> heading -> text of the cell, of all tables but the cards'."""
    found = {}
    for content in re.findall(
        r"<table.*?</table>", re.sub(r"<article.*?</article>", "", whole, flags=re.DOTALL), re.DOTALL
    ):
        head, *body = (
            [re.sub(r"<[^>]*>", "", cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)]
            for row in re.findall(r"<tr.*?</tr>", content, re.DOTALL)
        )
        for name, *cells in body:
            found[head[0] + head[1], name] = dict(zip(head[1:], cells, strict=True))
    return found


def test_the_figures_on_the_page_are_those_of_the_json() -> None:
    shown, got = rows(page()), as_json(report())
    best = got["best_fixed_scale"]

    def ranged(value: float, ci: list[float], write: Any) -> str:
        return f"{write(value)} ({write(ci[0])} to {write(ci[1])})"

    def costs(row: dict[str, str], source: dict[str, Any]) -> None:
        for cost, heading in words.COSTS.items():
            assert row[heading] == words.number(source[cost])

    for scale, fixed in got["fixed"].items():
        row = shown["policyaccuracy", f"fixed {scale}{' (best fixed)' if int(scale) == best else ''}"]
        assert row["accuracy"] == ranged(fixed["accuracy"], fixed["accuracy_ci"], words.percent)
        costs(row, fixed)
    for rule, name in (
        ("smallest", "at the smallest"),
        ("largest", "at the largest"),
        ("excluded", "left out"),
    ):
        row = shown["policyaccuracy", f"oracle, hopeless {name}"]
        costs(row, got["oracle"]["none_sufficient"][rule])
        assert row["accuracy"].startswith(words.percent(got["oracle"]["accuracy"]))
    point = got["operating_point"]
    row = shown["policyaccuracy", "router, default"]
    costs(row, point)
    assert row["accuracy"] == ranged(point["accuracy"], point["accuracy_ci"], words.percent)
    for heading, gain in (
        ("vs best fixed", point["versus_best_fixed"]),
        ("vs hull", point["gain_at_equal_tokens"]["fixed hull"]),
        ("vs lookup", point["gain_at_equal_tokens"]["lookup"]),
    ):
        assert row[heading] == ranged(gain["value"], gain["ci"], words.points)
    row = shown["policyaccuracy headroom", "router, default"]
    for measure in ("accuracy", "token"):
        value, ci = point[f"{measure}_headroom_captured"], point[f"{measure}_headroom_captured_ci"]
        assert row[f"{measure} headroom"] == ("–" if value is None else ranged(value, ci, words.percent))
    for family in got["families"]:
        row = shown["familyquestions", family["name"]]
        assert row["questions"] == f"{family['n']:,}"
        if "oracle" in row:  # the other table with these headings has the zones
            assert row["oracle"] == words.percent(family["oracle"]["accuracy"])
        assert row["scale matters"] == words.percent(family["zones"]["scale-matters"])
    for level in got["at_equal_tokens"]:
        row = shown["visual tokensrouter", words.number(level["visual_tokens"])]
        assert row["fixed hull"] == words.percent(level["accuracy"]["fixed hull"])
        gain = level["gain"]["lookup"]
        assert row["router − lookup"] == ranged(gain["value"], gain["ci"], words.points)
    for scale, reliable in got["reliability"].items():
        row = shown["scaleshare", scale]
        assert (row["ECE"], row["Brier"]) == (f"{reliable['ece']:.3f}", f"{reliable['brier']:.3f}")
    assert words.percent(point["saved"]["visual_tokens"]["value"]) in got["headline"][0]
    assert html.escape(got["headline"][0]) in page()


ODD = ["$5 to $10", "x^2_{$\\frac$", "家族", "all", "(all)", "a|b\r\nc", "y" * 5000, "\x1b[31mred", "<b>"]


def test_families_may_have_any_name() -> None:
    names = np.array([ODD[i % len(ODD)] for i in range(750)])
    r = changed(families=names)
    shown = html_page(r, choose_examples(r, 9))
    assert "$5 to $10" in shown
    assert "家族" in shown
    assert "y" * 100 not in shown
    assert [f.name for f in r.families] == sorted(ODD)
    assert "\r" not in markdown(r)
    json.dumps(as_json(r), allow_nan=False)


def test_of_many_families_the_largest_are_drawn() -> None:
    names = np.array([f"family {min(i // 2, 40):02}" for i in range(750)])
    r = changed(families=names)
    shown = html_page(r, [])
    assert "The 24 largest are drawn" in shown
    drawn = shown[shown.index('id="labels-') : shown.index("</svg>", shown.index('id="labels-'))]
    assert drawn.count(">family ") == 24
    assert ">family 40<" in drawn
    assert "largest are drawn" not in page()


def test_long_texts_of_the_data_are_clipped_on_the_page() -> None:
    long = changed(
        questions=("q" * 100_000,) * 750,
        answers=np.full((750, 5), "a" * 2000),
        references=(("r" * 100_000,),) * 750,
    )
    assert len(html_page(long, choose_examples(long, 9))) < len(page()) + 60_000
