"""A simulation of certificates as a table, and in two files: ``simulation.md`` and ``simulation.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from data.files import write_bytes
from training.certificates.simulate import Simulated
from training.report.markdown import sheet
from training.report.provenance import made_by
from training.report.tables import Sheet, Value

HEAD = ("policy", "loss", "epsilon", "delta", "violations", "at least", "tokens", "if known", "full only")


def simulated(rows: Sequence[Simulated]) -> Sheet:
    """A row per policy and certificate; an exclamation mark where it is violated more often than delta."""
    first = rows[0]
    caption = f"{first.draws:,} calibration sets of {first.n_images:,} images, drawn with replacement"
    return Sheet(caption, HEAD, tuple(tuple(Value(cell) for cell in _cells(row)) for row in rows))


def verdict(rows: Sequence[Simulated]) -> str:
    """One sentence: how many hold."""
    broken = sum(not row.holds for row in rows)
    if broken:
        return f"{broken} of {len(rows)} certificates are violated more often than delta allows."
    return f"All {len(rows)} hold: the lower 95% limit of the rate of violations is at most delta."


def write_simulation(
    rows: Sequence[Simulated], out: Path, provenance: Mapping[str, Any]
) -> tuple[Path, Path]:
    """Write both files into ``out`` (made where it is missing); returns their paths.

    provenance: plain JSON: `training.report.provenance.of_command`, ``split``, ``bundle`` and ``seed``.
    """
    out.mkdir(parents=True, exist_ok=True)
    parts = [
        f"# Certificates on many draws from {provenance['split']}",
        f"**{verdict(rows)}**",
        "A certificate is violated when the risk of any setting that passed is above epsilon on the whole "
        "table. *Violations* is the share of calibration sets in which that happened, *at least* the lower "
        "limit of its 95% interval (Clopper and Pearson). *Tokens* are those of the certified setting, all "
        "passes, averaged over the sets; *if known*, those of the setting that would do if the table were "
        "known: what is above them is the price of proof. *Full only*: the share of sets in which nothing "
        "cheaper passed. Two are bad on purpose: *reversed* is told of the smallest scale what is said of "
        "the largest; *just above* has, for each epsilon, a setting whose regret is 0.001 above it.",
        "*By family*: each family is certified by itself, all at once at delta (Bonferroni); a violation is "
        "one of any of them. Of *tokens*, epsilon is a budget just below what some price spends on the whole "
        "table: there a violation is a mean above its upper bound.",
        sheet(simulated(rows)),
        f"{made_by(provenance)}, bundle `{provenance['bundle']}`, seed {provenance['seed']}.",
    ]
    content = {
        "split": provenance["split"],
        "holds": all(row.holds for row in rows),
        "certificates": [{**asdict(row), "rate": row.rate, "holds": row.holds} for row in rows],
        "provenance": dict(provenance),
    }
    texts = {
        "simulation.md": "\n\n".join(parts) + "\n",
        "simulation.json": json.dumps(content, indent=1, allow_nan=False) + "\n",
    }
    for name, text in texts.items():
        write_bytes(out / name, text.encode())
    return out / "simulation.md", out / "simulation.json"


def _cells(row: Simulated) -> tuple[str, ...]:
    return (
        row.policy,
        row.loss,
        f"{row.epsilon:g}",
        f"{row.delta:g}",
        f"{row.rate:.3f}",
        f"{row.low:.4f}" + ("" if row.holds else " !"),
        f"{row.tokens:.1f}",
        f"{row.known:.1f}",
        f"{row.nothing:.3f}",
    )
