"""report.md: the headline and the tables, to paste into a pull request."""

from __future__ import annotations

from training.evaluation.results import TOKENS
from training.report import data_tables, router_tables, tables, words
from training.report.analysis import Report
from training.report.provenance import made_by
from training.report.tables import Sheet


def markdown(report: Report) -> str:
    """GitHub-flavoured Markdown."""
    e = report.evaluation
    parts = [
        f"# {report.dataset}: cost against accuracy",
        f"Split `{report.inputs.split}`: {e.n:,} questions about {e.n_images:,} images. "
        "Intervals are 95%, bootstrap by image.",
        f"**{words.headline(report)}**",
        *words.sentences(report),
        "## Policies",
        sheet(tables.policies(report)),
    ]
    if e.levels:
        parts += ["## At equal tokens", sheet(tables.equal_tokens(report))]
        parts += ["## At equal accuracy", sheet(tables.equal_accuracy(report, TOKENS))]
        parts += ["## Headroom", sheet(tables.headrooms(report))]
    parts += [sheet(router_tables.field(report))] if report.field else []
    parts += ["## Certificates", sheet(router_tables.certificates(report))] if report.certified else []
    parts += ["## Other candidates", sheet(router_tables.peers(report.peers))] if report.peers else []
    parts += ["## Families", sheet(tables.families(report))]
    parts += ["## Data sets", sheet(tables.families(report, "data set"))] if report.datasets else []
    parts += ["## Labels", sheet(data_tables.zones(report)), sheet(data_tables.choices(report))]
    if report.datasets:
        parts += [
            sheet(data_tables.zones(report, "data set")),
            sheet(data_tables.choices(report, "data set")),
        ]
    parts += [words.granularity(report)]
    if report.shifts:
        parts += ["## Shifted splits", sheet(data_tables.shifts(report))]
        if report.operating is not None:
            parts += [sheet(data_tables.shifted_policies(report)), words.judged(report)]
    if report.reweighted:
        parts += ["## Weighted like the paper's benchmarks", sheet(data_tables.profiles(report))]
        parts += [sheet(data_tables.reweighted(report))] if report.operating is not None else []
    if report.corpus:
        parts += ["## Official figures", sheet(tables.corpus(report))]
    if report.reliability:
        parts += ["## Calibration", sheet(tables.calibration(report))]
    if report.importances:
        parts += ["## What the router looks at", sheet(router_tables.importances(report))]
    if report.own_cost is not None:
        costs = "\n".join(f"- {name}: {value}" for name, value in router_tables.own_cost(report))
        parts += ["## What routing costs", costs]
    p = report.provenance
    parts.append(
        f"{made_by(p)}, backbone `{p['backbone_fingerprint']}`, {p['bootstrap_draws']} draws, "
        f"seed {p['seeds']['bootstrap']}."
    )
    return "\n\n".join(parts) + "\n"


def sheet(of: Sheet) -> str:
    """A table of the report as Markdown."""
    lines = [_row(of.head), _row(["---", *["---:"] * (len(of.head) - 1)])]
    for at, row in enumerate(of.rows):
        cells = [_escape(str(value)) for value in row]
        lines.append(_row([f"**{c}**" if at in of.strong and c else c for c in cells]))
    return f"{of.caption}\n\n" + "\n".join(lines)


def _row(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _escape(value: str) -> str:
    return " ".join(value.splitlines()).replace("|", "\\|")
