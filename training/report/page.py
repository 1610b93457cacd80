"""report.html: one file, nothing fetched, light and dark, on a phone and on a desk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from string import Template
from typing import Any

from training.evaluation.comparison import HULL
from training.evaluation.results import FLOPS, FLOPS_7B, TOKENS
from training.report import data_sections, figures, router_sections, tables, words
from training.report.analysis import Report
from training.report.cards import card
from training.report.data_sections import sheet
from training.report.definitions import DEFINITIONS
from training.report.examples import Example
from training.report.markup import Cell, facts, figure, paragraph, section, text
from training.report.palette import variables
from training.report.timing import MS_7B


def html_page(report: Report, examples: Sequence[Example], missing_pictures: str = "") -> str:
    """The whole page. missing_pictures: why pictures could not be re-made, or empty."""
    body = [
        _header(report),
        _costs(report),
        _comparison(report),
        router_sections.certificates(report),
        router_sections.peers(report),
        section("Families", sheet(tables.families(report))),
        data_sections.datasets(report),
        section("Official figures", sheet(tables.corpus(report))) if report.corpus else "",
        data_sections.labels(report),
        data_sections.difficulty(report),
        data_sections.shifts(report),
        data_sections.reweighted(report),
        router_sections.router(report),
        _examples(report, examples, missing_pictures),
        section("What the words mean", facts(DEFINITIONS, "words")),
        _provenance(report),
    ]
    title = f"{report.dataset}: cost against accuracy"
    return document(title, body, n_scales=len(report.evaluation.scales))


def document(title: str, body: Sequence[str], *, n_scales: int) -> str:
    """A page in the report's style. body: its sections, which are HTML already."""
    templates = files("training.report") / "templates"
    return Template((templates / "page.html").read_text(encoding="utf-8")).substitute(
        title=text(title),
        light=variables("light", n_scales),
        dark=variables("dark", n_scales),
        style=(templates / "page.css").read_text(encoding="utf-8"),
        body="\n".join(body),
    )


def _header(report: Report) -> str:
    e = report.evaluation
    kicker = f"{report.dataset}, split {report.inputs.split}: {e.n:,} questions about {e.n_images:,} images"
    verdict = words.verdict(report)
    lines = [paragraph(line, "verdict" if line == verdict else "") for line in words.sentences(report)]
    shaded = " The shade is the router's 95% interval at each setting." if "router" in e.curves else ""
    hero = figure(
        figures.pareto(report, TOKENS),
        "Accuracy against mean visual tokens. Dotted: fixed scales mixed at random. The oracle's line runs "
        "from its cost when hopeless questions spend the smallest scale to that when they spend the "
        f"largest.{shaded}",
    )
    return (
        f"<header>{paragraph(kicker, 'kicker')}<h1>{text(words.headline(report))}</h1>"
        f'{_tiles(report)}<div class="hero"><div>{"".join(lines)}</div>{hero}</div></header>'
    )


def _tiles(report: Report) -> str:
    p, e = report.operating, report.evaluation
    if p is None:
        return ""
    found = [
        (
            words.percent(p.saved[c].value),
            f"{'less time' if c == MS_7B else f'fewer {words.COSTS[c]}'}"
            f"{' at 7B' if c == MS_7B else ''} than scale {e.best_scale}",
            words.percent_range(p.saved[c]),
        )
        for c in words.COSTS
        if c in p.saved
    ]
    found.append(
        (
            words.points(p.versus_best.value),
            f"points against scale {e.best_scale}",
            words.points_range(p.versus_best),
        )
    )
    for name, short in ((HULL, "the fixed hull"), ("lookup", "the lookup")):
        if name in p.gain_over:
            gain = p.gain_over[name]
            found.append(
                (words.points(gain.value), f"points over {short} at equal tokens", words.points_range(gain))
            )
    tiles = "".join(
        f'<div class="tile"><b>{text(value)}</b><span>{text(what)}</span><span>{text(interval)}</span></div>'
        for value, what, interval in found
    )
    return f'<div class="tiles">{tiles}</div>'


def _costs(report: Report) -> str:
    captions = {
        FLOPS: "FLOPs of the whole path on this backbone. The tower is a floor under every scale.",
        FLOPS_7B: "The same requests priced at the shape of LLaVA-1.5-7B.",
        MS_7B: _time_words(report),
    }
    pictures = [
        figure(figures.pareto(report, cost), caption)
        for cost, caption in captions.items()
        if cost in report.evaluation.fixed.cost
    ]
    return section(
        "Cost against accuracy",
        f'<div class="figures">{"".join(pictures)}</div>',
        sheet(tables.policies(report)),
    )


def _time_words(report: Report) -> str:
    times = report.times
    if times is None:
        return ""
    how = "as it was measured" if times.measured else "estimated, not measured"
    return (
        f"Time of one request, alone on a machine, on a 7B model: {how} ({times.source}). Reading the "
        "weights is a floor under every prompt and every token of the answer."
    )


def _comparison(report: Report) -> str:
    e = report.evaluation
    if not e.levels:
        return ""
    others = "".join(
        sheet(tables.equal_accuracy(report, cost)) for cost in e.equal_accuracy if cost != TOKENS
    )
    return section(
        "At equal tokens, at equal accuracy",
        sheet(tables.equal_tokens(report)),
        sheet(tables.equal_accuracy(report, TOKENS)),
        f"<details><summary>The same in FLOPs and time</summary>{others}</details>",
        paragraph(
            "Here every curve is read where it reaches the accuracy on this split; the settings in the other "
            "tables were chosen beforehand.",
            "soft",
        ),
        "<h3>Headroom</h3>",
        sheet(tables.headrooms(report)),
        router_sections.field(report),
    )


def _examples(report: Report, examples: Sequence[Example], missing: str) -> str:
    if not examples:
        return ""
    why = paragraph(f"Pictures are not shown: {missing}", "soft") if missing else ""
    cards = "".join(card(report, example) for example in examples)
    note = paragraph("Drawn at random within each kind, by a fixed seed; not picked by hand.", "soft")
    return section("Examples", note, why, f'<div class="cards">{cards}</div>')


def _provenance(report: Report) -> str:
    times, rows = report.times, provenance_facts(report.provenance)
    if times is not None:
        rows.append(("times at 7B", f"{times.source}{'' if times.measured else ' (an estimate)'}"))
    return section("Provenance", facts(rows))


def _brief(value: object) -> object:
    """The value, or where it is long (tables of what requests looked like) a mark; report.json has it all."""
    return value if len(json.dumps(value)) <= 200 else "…"


def origin(p: Mapping[str, Any]) -> list[tuple[str, Cell]]:
    """Command, time and commit, which every result has."""
    changed = " with uncommitted changes" if p["uncommitted_changes"] else ""
    return [
        ("command", str(p["command"])),
        ("made", str(p["created"])),
        ("commit", f"{p['commit'] or 'unknown'}{changed}"),
    ]


def versions(p: Mapping[str, Any]) -> tuple[str, Cell]:
    """Those of Python and of the packages."""
    known = [f"{name} {number}" for name, number in p["versions"].items() if number]
    return "versions", ", ".join([f"python {p['python']}", *known])


def provenance_facts(p: Mapping[str, Any]) -> list[tuple[str, Cell]]:
    """What `training.report.provenance.collect` found, for people."""
    rows = [*origin(p), ("backbone", f"{p['backbone']} {p['backbone_fingerprint']}")]
    rows += [(f"outcomes, {split}", f"sha256 {o['manifest_sha256']}") for split, o in p["outcomes"].items()]
    if p["bundle"] is not None:
        rows.append(
            (
                "router",
                f"{p['bundle']['candidate']} {p['bundle']['version']}, "
                f"ONNX sha256 {p['bundle']['onnx_sha256']}",
            )
        )
        known = {key: _brief(value) for key, value in p["bundle"]["provenance"].items()}
        rows.append(("fitted with", json.dumps(known, ensure_ascii=False)))
    rows += [
        ("bootstrap", f"{p['bootstrap_draws']} draws by image, seed {p['seeds']['bootstrap']}"),
        versions(p),
    ]
    return rows
