"""Sections of the page about the router: the field's measures, certificates, beliefs, own cost, peers."""

from __future__ import annotations

from training.report import figures, router_tables, tables
from training.report.analysis import Report
from training.report.cards import confusion_table
from training.report.data_sections import sheet
from training.report.markup import facts, figure, paragraph, section


def field(report: Report) -> str:
    """APGR, CPT and AIQ, under a heading of their own; empty for a ladder of one scale."""
    if not report.field:
        return ""
    return f"<h3>As other papers measure it</h3>{sheet(router_tables.field(report))}"


def certificates(report: Report) -> str:
    """What is promised and what came of it; empty without certificates."""
    if not report.certified:
        return ""
    return section(
        "What is certified",
        sheet(router_tables.certificates(report)),
        paragraph(
            "A certificate speaks of images like those of certify, of greedy answers to one question about "
            "one image. What is measured here is no proof of it.",
            "soft",
        ),
    )


def router(report: Report) -> str:
    """Confusion, reliability, importances and routing's own cost; empty without a router."""
    if report.confusion is None:
        return ""
    fell = (
        f"{report.fallbacks:,} of {report.evaluation.n:,} questions took the full scale because their image "
        "is unlike those of training."
    )
    looks = (
        ["<h3>What it looks at</h3>", sheet(router_tables.importances(report))] if report.importances else []
    )
    return section(
        "What the router believes and does",
        '<div class="figures">',
        figure(
            figures.reliability(report),
            "Predicted probabilities against what happened, in ten equal-width bins; bins of fewer than "
            f"{figures.FEW} questions are not drawn.",
        ),
        f"<div>{sheet(tables.calibration(report))}{confusion_table(report, report.confusion)}</div></div>",
        paragraph(fell, "soft"),
        *looks,
        "<h3>What routing costs</h3>",
        facts(router_tables.own_cost(report), "words"),
    )


def peers(report: Report) -> str:
    """Other candidates; empty where none were given."""
    if report.peers is None:
        return ""
    return section(
        "Other candidates",
        sheet(router_tables.peers(report.peers)),
        paragraph(
            "The pictures draw them faintly: over all tokens where the cost is tokens, else at the settings "
            "that tune chose for them.",
            "soft",
        ),
    )
