"""compare.html: one file, nothing fetched, in the style of the reports."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence

from training.candidates.base import Candidate
from training.candidates.budget import EPOCHS, FOLDS, ROUNDS, SETTINGS
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
        section("Certified on many draws", sheet(sheets.proofs(c))) if c.proofs else "",
        section("Failures", sheet(sheets.failures(c))) if c.failures else "",
        section("Who is who", facts(who_is_who(c.wanted.candidates), "words")),
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
        f'<div class="hero"><div>{lines}{frontiers}</div>{areas}</div></header>'
        + section("Over the whole frontier", sheet(sheets.areas(c)))
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


def who_is_who(candidates: Sequence[Candidate]) -> list[tuple[str, Cell]]:
    """What each candidate is, in the first sentence of its module, and what it reads."""
    found: list[tuple[str, Cell]] = []
    for candidate in candidates:
        doc = inspect.getdoc(sys.modules[type(candidate).__module__]) or ""
        first = " ".join(doc.partition("\n\n")[0].split())
        if candidate.groups != ("length",):  # that is what those name that read nothing
            first = f"{first} Reads: {', '.join(candidate.groups)}."
        found.append((candidate.name, first))
    return found


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
        "turned into frequencies on tune, and it spends by price: expected score - price x visual tokens. A "
        "cascade looks at its own answers, too. NAME_routed is a published method with our route inputs in "
        "place of its own.",
    ),
    (
        "calibration",
        "Predictions become frequencies on tune, by one monotone map per scale. AVG-LLaVA, CARES, ViR and "
        "FrugalGPT, with our route inputs too, have no such map: they choose by a published rule that reads "
        "their raw outputs, and with a map under it they would be other methods. What tune sets for them is "
        "the knob of that rule, as it sets prices for the rest, and FrugalGPT's scales and thresholds. Both "
        "looks of the hybrid are calibrated.",
    ),
    (
        "search budget",
        f"The same for all: at most {SETTINGS} settings on the first of {FOLDS} folds by image, the best one "
        f"on all of them, then everything; at most {ROUNDS} trees or {EPOCHS} passes over router-train, "
        "fewer where held-out images say so. The first training seed searches; the others take the settings "
        "that it found.",
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
        "tokens. The reachable oracle is without luck; it needs another replicate of the split.",
    ),
]
