"""Two pieces of the page with markup of their own: the confusion table and the card of an example."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.report.analysis import Report
from training.report.examples import Example
from training.report.markup import Raw, paragraph, text
from training.report.words import clipped

LONGEST = 600
"""Characters of a question, an answer or all references that a card shows at most."""


def confusion_table(report: Report, counts: NDArray[np.int64]) -> str:
    """counts: [S + 1, S], as `training.report.analysis.Report.confusion`."""
    scales = report.evaluation.scales
    rows = []
    for truth, name in enumerate([*map(str, scales), "none"]):
        total = max(int(counts[truth].sum()), 1)
        cells = ""
        for chosen in range(len(scales)):
            css = ' class="hit"' if truth == chosen else ""
            heat = counts[truth, chosen] / total
            cells += f'<td{css} style="--heat:{heat:.2f}">{counts[truth, chosen]:,}</td>'
        rows.append(f'<tr><th scope="row">{name}</th>{cells}</tr>')
    head = "".join(f'<th scope="col">{scale}</th>' for scale in scales)
    return (
        '<p class="caption">Rows: the oracle\'s scale. Columns: the scale chosen at the operating point. '
        "Framed: equal. Shade: share of the row.</p>"
        '<div class="scroll" tabindex="0" role="region" aria-label="Chosen against oracle scale">'
        '<table class="heat">'
        f'<thead><tr><th scope="col">oracle</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def card(report: Report, example: Example) -> str:
    """One example: picture, question, references, and the answer at every scale."""
    t, i = report.inputs.table, example.row
    where = " / ".join(clipped(part, 80) for part in (str(t.families[i]), str(t.kinds[i])) if part)
    alternative = text(clipped(f"Image {t.image_ids[int(t.image_index[i])]}", 200))
    picture = (
        f'<img src="{example.picture}" alt="{alternative}">'
        if example.picture
        else f'<div class="missing">{alternative}</div>'
    )
    rows = []
    for s, scale in enumerate(t.scales):
        notes = [n for n, here in (("chosen", s == example.chosen), ("oracle", s == example.oracle)) if here]
        label = f"{scale} <small>{', '.join(notes)}</small>" if notes else f"{scale}"
        css = ' class="chosen"' if s == example.chosen else ""
        answer = text(clipped(str(t.answers[i, s]), LONGEST) or "(empty)")
        mark = _mark(float(t.scores[i, s]))
        rows.append(f'<tr{css}><th scope="row">{label}</th><td>{answer}</td><td>{mark}</td></tr>')
    references = clipped(", ".join(dict.fromkeys(t.references[i])), LONGEST)
    head = "".join(f'<th scope="col">{name}</th>' for name in ("scale", "answer", "right"))
    return (
        f'<article class="card"><h3>{text(example.title)}</h3>{picture}'
        f"<p><b>{text(clipped(t.questions[i], LONGEST))}</b></p>{paragraph(f'Reference: {references}')}"
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        f"{paragraph(where, 'soft')}</article>"
    )


def _mark(score: float) -> str:
    if score >= 1:
        return '<span class="yes" role="img" aria-label="right">✓</span>'
    if score <= 0:
        return '<span class="no" role="img" aria-label="wrong">✗</span>'
    return text(Raw(f"{score:.2f}"))
