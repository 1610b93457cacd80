"""The tables of a comparison as rows of text: the page and the Markdown show the same ones."""

from __future__ import annotations

import math
from collections.abc import Sequence

from training.comparing import words
from training.comparing.comparison import Comparison
from training.comparing.proofs import TOLD
from training.comparing.standings import Standing
from training.evaluation.comparison import Estimate
from training.evaluation.results import FLOPS, FLOPS_7B, TOKENS
from training.report.tables import Sheet, Value
from training.report.words import clipped, number, percent, percent_range

NOTHING = Value("–")


def areas(c: Comparison) -> Sheet:
    """Everyone's mean accuracy over log tokens, and the difference to the main candidate."""
    s = c.standings
    low, high = s.range
    rows = [
        (
            Value(row.name),
            _percent(row.area.estimate()),
            _difference(row.over),
            Value(words.verdict(row.over)),
            Value(f"{100 * float(row.area.spread):.2f}" if len(row.seeds) > 1 else "–"),
            Value(str(len(row.seeds)) if row.seeds else "–"),
        )
        for row in s.rows
    ]
    head = ("candidate", "mean accuracy", f"− {s.main}", "verdict", "sd between seeds", "seeds")
    caption = (
        f"Mean accuracy over log visual tokens from {number(low)} to {number(high)}; differences and sd "
        "in points."
    )
    return Sheet(caption, head, tuple(rows), _main(c))


def levels(c: Comparison) -> Sheet:
    """Accuracy at the token levels."""
    s = c.standings
    rows = [
        (Value(row.name), *(_percent(row.accuracy.estimate(q)) for q in range(len(s.levels))))
        for row in s.rows
    ]
    head = ("candidate", *(f"at {number(level)}" for level in s.levels))
    return Sheet("Accuracy at mean visual tokens per question.", head, tuple(rows), _main(c))


def bands(c: Comparison) -> Sheet:
    """Differences to the main candidate at the levels, with intervals that hold at all of them at once."""
    s = c.standings
    rows = []
    for row in s.rows:
        if row.band is None:
            continue
        off = {
            word: [number(level) for level, e in zip(s.levels, row.band, strict=True) if e.sign == sign]
            for word, sign in (("above", 1), ("below", -1))
        }
        told = "; ".join(f"{word} at {', '.join(at)}" for word, at in off.items() if at)
        rows.append((Value(row.name), *(_difference(e) for e in row.band), Value(told or "within noise")))
    head = ("candidate", *(f"at {number(level)}" for level in s.levels), "under the band")
    caption = (
        f"Accuracy minus that of {s.main} at equal mean visual tokens, in points; the intervals of a row "
        "hold at all of its levels at once in 95% of samples."
    )
    return Sheet(caption, head, tuple(rows))


def settings(c: Comparison) -> Sheet:
    """The setting that tune chose within 0.5 points of the best fixed scale, its costs, and headroom."""
    e = c.standings.evaluation
    full = len(e.scales) - 1
    rows = []
    for row in c.standings.rows:
        if not row.settings:
            continue
        thrifty, accurate = row.settings.get("thrifty"), row.settings.get("accurate")
        cells = [NOTHING] * 7
        if thrifty is not None:
            share = {cost: thrifty.cost[cost].value / e.fixed.cost[cost][full] for cost in (TOKENS, FLOPS_7B)}
            cells = [
                _percent(thrifty.accuracy),
                _difference(thrifty.versus_best),
                Value(number(thrifty.cost[TOKENS].value)),
                Value(percent(share[TOKENS])),
                Value(percent(share[FLOPS_7B])),
                _percent(thrifty.token_headroom_captured),
                _percent(thrifty.plain_token_headroom_captured),
            ]
        more = [NOTHING] * 2
        if accurate is not None:
            more = [
                _percent(accurate.accuracy_headroom_captured),
                _percent(accurate.plain_accuracy_headroom_captured),
            ]
        if e.reachable is None:  # the plain oracle is the only one
            cells, more = cells[:-1], more[:-1]
        rows.append((Value(row.name), *cells, *more))
    which = ["token headroom", "token headroom, plain"], ["accuracy headroom", "accuracy headroom, plain"]
    if e.reachable is None:
        which = which[0][:1], which[1][:1]
    head = (
        "candidate",
        "accuracy",
        f"− scale {e.best_scale}",
        "tokens",
        f"of scale {e.scales[-1]}'s",
        f"7B FLOPs, of scale {e.scales[-1]}'s",
        *which[0],
        *which[1],
    )
    oracle = "reachable" if e.reachable is not None else "plain"
    caption = (
        "Each seed's cheapest setting within 0.5 points of the best fixed scale on tune, with all passes and "
        "routing charged; accuracy headroom is that of its most accurate setting. Headroom is up to the "
        f"{oracle} oracle; – where no setting is that accurate, or a measure's condition fails."
    )
    strong = [i for i, row in enumerate(rows) if row[0].text == c.standings.main]
    return Sheet(caption, head, tuple(rows), tuple(strong))


def costs(c: Comparison) -> Sheet:
    """What routing itself costs, and what fitting took."""
    rows = [
        (
            Value(row.name),
            Value(number(row.charge.get(FLOPS, 0.0))),
            Value(number(row.charge.get(FLOPS_7B, 0.0))),
            Value(_part(row.charge.get(FLOPS_7B, 0.0) / full)),
            Value(f"{row.seconds:,.1f}"),
        )
        for row in c.standings.rows
        if row.charge is not None
        for full in [c.standings.evaluation.fixed.cost[FLOPS_7B][-1]]
    ]
    head = ("candidate", "FLOPs", "FLOPs at 7B", "of the full scale's", "CPU seconds to fit")
    caption = (
        "Routing itself, per question: the route inputs that are read, and the candidate's own work; and "
        "what the first seed's search, fit and calibration took."
    )
    return Sheet(caption, head, tuple(rows), _main(c, charged=True))


def ablation(c: Comparison) -> Sheet:
    """The main candidate without each group of route inputs."""
    rows = [
        (Value(row.group), _percent(row.area), _difference(row.over), Value(words.verdict(row.over)))
        for row in c.ablation
    ]
    caption = (
        f"{c.standings.main} without one group of route inputs; differences to it with all, in points. The "
        "settings are those that the first seed found with all groups: without one nothing is searched for "
        "again. Numbers of trees and epochs are kept too, unless the fit needs folds for more than to count "
        "them."
    )
    return Sheet(caption, ("without", "mean accuracy", "− with all", "verdict"), tuple(rows))


def learning(c: Comparison) -> Sheet:
    """What labels buy."""
    rows = [
        (
            Value(f"{row.pairs:,}"),
            Value(f"{row.images:,}"),
            Value(f"{row.gpu_hours:.3g}"),
            _percent(row.area),
            _difference(row.over) if row.fraction < 1 else NOTHING,
        )
        for row in c.learning
    ]
    head = ("pairs", "images", "GPU-hours at 7B", "mean accuracy", "− with all")
    caption = (
        f"{c.standings.main} fitted on fewer labels, images drawn by seed. GPU-hours: labelling them at the "
        "7B shape at all scales, on an A100 at 40% of its peak; tune's labels come on top."
    )
    return Sheet(caption, head, tuple(rows), (len(rows) - 1,) if rows else ())


def proofs(c: Comparison) -> Sheet:
    """Whether certificates hold, and what they cost."""
    epsilon, delta = TOLD
    rows = []
    for proof in c.proofs:
        worst = proof.worst
        regret, net = proof.told("regret"), proof.told("net")
        rows.append(
            (
                Value(proof.name),
                Value("yes" if proof.holds else "no"),
                Value(f"{100 * worst.rate:.1f}%", f"{100 * worst.low:.1f} to {100 * worst.high:.1f}%"),
                Value(f"{100 * worst.delta:g}%"),
                *(Value(number(n)) for n in (regret.tokens, regret.known, net.tokens, net.known)),
            )
        )
    head = (
        "candidate",
        "holds",
        "worst rate",
        "delta there",
        "tokens, regret",
        "if known",
        "tokens, net",
        "if known",
    )
    one = c.proofs[0].cells[0]
    caption = (
        f"{one.draws:,} calibration sets of {one.n_images:,} images, drawn from the compared table with "
        "replacement; a certificate is violated when the risk of a setting that passed is above epsilon on "
        "the whole table. The worst rate of violations over "
        f"{len(c.proofs[0].cells)} certificates, with its 95% limits. Tokens: certified for a drop of "
        f"{epsilon:g} at delta {delta:g}, and those of the setting that would do if the table were known."
    )
    return Sheet(
        caption, head, tuple(rows), tuple(i for i, p in enumerate(c.proofs) if p.name == c.standings.main)
    )


def failures(c: Comparison) -> Sheet:
    """Fits that could not be made."""
    rows = tuple((Value(f.label), Value(clipped(f.error, 200))) for f in c.failures)
    return Sheet("Fits that could not be made; the next run tries them again.", ("fit", "error"), rows)


def _main(c: Comparison, *, charged: bool = False) -> tuple[int, ...]:
    rows: Sequence[Standing] = [row for row in c.standings.rows if not charged or row.charge is not None]
    return tuple(i for i, row in enumerate(rows) if row.name == c.standings.main)


def _percent(e: Estimate) -> Value:
    return Value(percent(e.value), percent_range(e)) if math.isfinite(e.value) else NOTHING


def _part(share: float) -> str:
    """A share that may be tiny, in percent."""
    return f"{100 * share:.2g}%" if share == 0 or share >= 1e-4 else "< 0.01%"


def _difference(e: Estimate | None) -> Value:
    if e is None or not math.isfinite(e.value):
        return NOTHING
    return Value(*words.difference(e))
