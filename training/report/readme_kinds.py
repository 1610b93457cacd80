"""What a backbone can and cannot answer, by kind of question: a rule over outcome tables, and the figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.records import OutcomeTable
from data.scalebench.families.paint import CHOICE
from data.scoring import METRICS
from training.report.readme import ReadmeError
from training.report.readme_markdown import paragraph, table

ABOVE = 0.25
"""How far above guessing an accuracy must be to count as an ability."""

MOSTLY = 0.75
"""Accuracy from which a kind of question counts as mostly answered."""

GROUPS = ("mostly", "in part", "hardly")

_EPS = 1e-9  # accuracies are sums of scores: 0.25 above must count as such


@dataclass(frozen=True)
class Kind:
    """One kind of question. example: the first one in the table. accuracy: at every scale.

    guess: accuracy of the answer that is commonest for this kind in the table that guesses were learned on.
    """

    family: str
    name: str
    example: str
    n: int
    guess: float
    accuracy: tuple[float, ...]

    @property
    def group(self) -> str:
        """One of `GROUPS`, by the best scale."""
        best = max(self.accuracy) + _EPS
        if best < self.guess + ABOVE:
            return "hardly"
        return "mostly" if best >= MOSTLY else "in part"


def found_kinds(shown: OutcomeTable, learned: OutcomeTable) -> list[Kind]:
    """Every (family, kind) of ``shown``, sorted. Raises `ReadmeError` for one that ``learned`` does not have.

    shown, learned: tables of the same questions' kinds, on different images. Questions that name options
    count with those that do not.
    """
    keys = sorted({*zip(shown.families.tolist(), _plain(shown), strict=True)})
    return [_kind(shown, learned, family, kind) for family, kind in keys]


def kinds(shown: OutcomeTable, learned: OutcomeTable) -> str:
    """Markdown: the rule, the kinds by family and group, and all figures folded away."""
    found = found_kinds(shown, learned)
    total = sum(kind.n for kind in found)
    share = {group: sum(k.n for k in found if k.group == group) / total for group in GROUPS}
    head = ["family", *(f"{group} ({100 * share[group]:.0f}% of the questions)" for group in GROUPS)]
    rows = []
    for family in dict.fromkeys(kind.family for kind in found):
        own = [kind for kind in found if kind.family == family]
        rows.append(
            [family, *(", ".join(k.name for k in own if k.group == group) or "–" for group in GROUPS)]
        )
    rule = (
        f"Kinds of questions, each at the scale that is best for it. *Hardly*: less than {100 * ABOVE:.0f} "
        f"points above guessing, which is to give the kind's commonest answer on `{learned.split}`. "
        f"*Mostly*: at least {100 * MOSTLY:.0f}% right, and not hardly. *In part*: what is between. "
        "Questions that name four options count with those that do not."
    )
    return f"{paragraph(rule)}\n\n{table(head, rows)}\n\n{_folded(found, shown.scales)}"


def _folded(found: Sequence[Kind], scales: Sequence[int]) -> str:
    head = ["kind", "for example", "questions", "guessing", *map(str, scales)]
    rows = [
        [
            f"{kind.family}/{kind.name}",
            kind.example,
            f"{kind.n:,}",
            f"{kind.guess:.2f}",
            *(f"{value:.2f}" for value in kind.accuracy),
        ]
        for kind in found
    ]
    return (
        "<details>\n<summary>All kinds: an example, how many questions, accuracy of guessing and at every "
        f"scale</summary>\n\n{table(head, rows)}\n\n</details>"
    )


def _plain(of: OutcomeTable) -> list[str]:
    return [str(kind).removesuffix(CHOICE) for kind in of.kinds]


def _kind(shown: OutcomeTable, learned: OutcomeTable, family: str, kind: str) -> Kind:
    rows, known = (
        np.flatnonzero((of.families == family) & (np.array(_plain(of)) == kind)) for of in (shown, learned)
    )
    if not len(known):
        raise ReadmeError(
            f"The table '{learned.split}' has no question of {family}/{kind}: nothing tells how to guess."
        )
    answer, _ = Counter(learned.references[i][0] for i in known).most_common(1)[0]
    guesses = [METRICS[str(shown.metrics[i])](answer, shown.references[i]) for i in rows]
    return Kind(
        family=family,
        name=kind,
        example=shown.questions[rows[0]],
        n=len(rows),
        guess=float(np.mean(guesses)),
        accuracy=tuple(shown.scores[rows].mean(axis=0).tolist()),
    )
