"""compare.html: one file, nothing fetched, in the style of the reports."""

from __future__ import annotations

from training.comparing import figures, sheets, words
from training.comparing.comparison import Comparison
from training.report.data_sections import sheet
from training.report.markup import Cell, facts, figure, paragraph, section, text
from training.report.page import document, provenance_facts


def html_page(c: Comparison) -> str:
    """The whole page."""
    body = [
        _header(c),
        section("At equal tokens", sheet(sheets.levels(c)), sheet(sheets.bands(c))),
        section(
            "At a setting",
            sheet(sheets.settings(c)),
            "<h3>What routing costs</h3>",
            sheet(sheets.costs(c)),
        ),
        _ablation(c),
        _learning(c),
        section("Failures", sheet(sheets.failures(c))) if c.failures else "",
        section("What the words mean", facts(DEFINITIONS, "words")),
        section("Provenance", facts([*provenance_facts(c.provenance), *_more(c)])),
    ]
    title = f"{c.dataset}: candidates compared"
    return document(title, body, n_scales=len(c.standings.evaluation.scales))


def _header(c: Comparison) -> str:
    e = c.standings.evaluation
    kicker = (
        f"{c.dataset}, {where(c)}: {e.n:,} questions about {e.n_images:,} images, "
        f"{len([row for row in c.standings.rows if row.seeds])} candidates"
    )
    lines = "".join(paragraph(line) for line in words.sentences(c))
    areas = figure(
        figures.areas(c),
        f"Each against {c.standings.main} (the line at zero), with 95% intervals over images and seeds.",
    )
    frontiers = figure(
        figures.frontiers(c),
        "Accuracy against mean visual tokens; means over seeds. The best other candidate is named.",
    )
    return (
        f"<header>{paragraph(kicker, 'kicker')}<h1>{text(words.headline(c))}</h1>"
        f'<div class="hero"><div>{lines}</div>{areas}</div></header>'
        + section("Over the whole frontier", sheet(sheets.areas(c)), frontiers)
    )


def _ablation(c: Comparison) -> str:
    if not c.ablation:
        return ""
    shown = figure(figures.ablation(c), "The same candidate, fitted without one group of route inputs.")
    return section(
        "What each group of route inputs is worth",
        f'<div class="figures">{shown}<div>{sheet(sheets.ablation(c))}</div></div>',
    )


def _learning(c: Comparison) -> str:
    if not c.learning:
        return ""
    shown = figure(figures.learning(c), "Fitted on fractions of router-train's images; the shade is 95%.")
    return section(
        "What labels buy", f'<div class="figures">{shown}<div>{sheet(sheets.learning(c))}</div></div>'
    )


def where(c: Comparison) -> str:
    """What the candidates were compared on."""
    if c.tables.folds:
        return f"{c.tables.folds} folds of {c.tables.table.split}"
    return f"split {c.tables.table.split}"


def _more(c: Comparison) -> list[tuple[str, Cell]]:
    commits = sorted({commit or "unknown" for commit in c.commits})
    return [
        ("training seeds", f"{c.wanted.seeds}, from 0 on"),
        ("fitted at", ", ".join(commits)),
        *[(candidate.name, repr(candidate)) for candidate in c.wanted.candidates],
    ]


DEFINITIONS: list[tuple[str, Cell]] = [
    (
        "candidate",
        "A way to learn which scale a question needs. Each is fitted on the same table, its predictions are "
        "turned into frequencies on tune, and it spends by price: expected score - price x visual tokens.",
    ),
    (
        "mean accuracy over log tokens",
        "The area under a candidate's frontier: every doubling of the tokens counts the same. Settings "
        "between two prices mix them at random.",
    ),
    (
        "fixed hull, fixed scales",
        "What mixing the fixed scales at random reaches; and the one scale that was best on tune of those "
        "that are affordable.",
    ),
    (
        "interval",
        "95%, from resamples that draw images with replacement, the same for everyone, and training seeds "
        "with replacement, for each candidate apart. Simultaneous: all levels of a row hold at once.",
    ),
    (
        "headroom captured",
        "Tokens: how much of the way from the best fixed scale's to the oracle's, at no more than 0.5 points "
        "below it. Accuracy: how much of the way up to the oracle's, at no more than the best fixed scale's "
        "tokens. The reachable oracle is without luck; it needs a second replicate of the split.",
    ),
]
