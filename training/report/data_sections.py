"""Sections of the page that are about the data: how many tokens it needs, and what makes it need more."""

from __future__ import annotations

from data.scalebench import MEASURES, NOVELTY_SPLITS
from training.report import data_tables, stacks, tables, words
from training.report.analysis import Report
from training.report.markup import Cell, figure, paragraph, section, table, with_range
from training.report.paper import paper
from training.report.tables import Sheet, Value


def sheet(of: Sheet) -> str:
    """A table of the report as HTML."""
    return table(of.head, [[_cell(v) for v in row] for row in of.rows], of.caption, of.strong)


def _cell(value: Value) -> Cell:
    return with_range(value.text, value.range) if value.range else value.text


def labels(report: Report) -> str:
    """The smallest sufficient scales, the zones, and what is luck of it."""
    more = len(report.families) > stacks.FAMILIES
    cut = f" The {stacks.FAMILIES} largest are drawn, the table has all." if more else ""
    return section(
        "How many tokens the questions need",
        '<div class="figures">',
        figure(stacks.labels(report), f"Smallest sufficient scale, by family.{cut}"),
        f"<div>{sheet(data_tables.zones(report))}</div></div>",
        sheet(data_tables.choices(report)),
        paragraph(words.granularity(report)),
        _labels_by_dataset(report),
        paragraph(
            "Only where the scale matters can a router gain accuracy; where every scale is right it can only "
            "save. Labels are from one replicate: a lucky answer at a small scale counts as sufficient. "
            + words.reachable(report),
            "soft",
        ),
    )


def datasets(report: Report) -> str:
    """Accuracy of every data set; empty where there is one alone."""
    return section("Data sets", sheet(tables.families(report, "data set"))) if report.datasets else ""


def _labels_by_dataset(report: Report) -> str:
    if not report.datasets:
        return ""
    more = len(report.datasets) > stacks.FAMILIES
    cut = f" The {stacks.FAMILIES} largest are drawn, the table has all." if more else ""
    picture = figure(stacks.labels(report, "data set"), f"The same by data set.{cut}")
    beside = sheet(data_tables.zones(report, "data set"))
    return f'<div class="figures">{picture}<div>{beside}</div></div>' + sheet(
        data_tables.choices(report, "data set")
    )


def difficulty(report: Report) -> str:
    """The oracle's scale against what the generator drew; empty where nothing was recorded."""
    if not report.difficulty:
        return ""
    drawn = report.difficulty[: stacks.MEASURES]
    pictures = [
        figure(
            stacks.difficulty(report, measure, at),
            f"{_meaning(report, measure.name)}: {measure.n:,} questions"
            + (f" of {words.clipped(', '.join(measure.families), 200)}." if measure.families else "."),
        )
        for at, measure in enumerate(drawn)
    ]
    cut = (
        f" The {len(drawn)} measures with the most questions are drawn."
        if len(report.difficulty) > len(drawn)
        else ""
    )
    return section(
        "What makes a question need more",
        paragraph(
            "The smallest sufficient scale against what was drawn into the picture, as the data set records "
            f"it, in bins of about equally many questions; measures are in the data set's own units.{cut}"
        ),
        f'<div class="figures">{"".join(pictures)}</div>',
        "<details><summary>Accuracy in the same bins</summary>"
        f"{sheet(data_tables.difficulty(report))}</details>",
    )


def _meaning(report: Report, name: str) -> str:
    """The measure's name, and what it is where the data set is this project's own."""
    own = set(report.inputs.table.datasets) == {"scalebench"}
    said = MEASURES.get(name) if own else None
    return words.clipped(name, 60) if said is None else f"{name}, {said}"


def shifts(report: Report) -> str:
    """Splits unlike training's; empty where none was given."""
    if not report.shifts:
        return ""
    return section(
        "On data unlike training's",
        sheet(data_tables.shifts(report)),
        sheet(data_tables.shifted_policies(report)) if report.operating is not None else "",
        paragraph(words.judged(report)) if report.operating is not None else "",
        paragraph(
            "Nothing was fitted, calibrated or chosen on the judged splits; novelty may be tuned on "
            f"{' and '.join(NOVELTY_SPLITS)}. What holds here was found here: it is no promise about another "
            "shift.",
            "soft",
        ),
    )


def reweighted(report: Report) -> str:
    """The data weighted to be as hard as the paper's benchmarks; empty where the ladders differ."""
    if not report.reweighted:
        return ""
    source = str(paper()["source"])
    return section(
        "Weighted like the paper's benchmarks",
        paragraph(
            "The mix of easy and hard questions is this data set's own. Here they are weighted so that the "
            f"fixed scales come as near as they can to LLaVA-NeXT-M3's accuracies ({source}, table 2), and "
            "the results are taken again. Of all weights that do, those nearest to equal ones in relative "
            "entropy are taken (entropy balancing); the questions of a cell weigh the same. By family and "
            "kind, weights look at what is asked alone. By family and zone (every scale right, some, none) "
            "they look at what happened, luck included, which no router sees. Intervals hold the weights "
            "fixed. Only accuracies are matched: the paper's tokens are per grid, five grids per image."
        ),
        sheet(data_tables.profiles(report)),
        sheet(data_tables.reweighted(report)) if report.operating is not None else "",
    )
