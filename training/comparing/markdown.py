"""compare.md: the headline and the tables, to paste into a pull request."""

from __future__ import annotations

from training.comparing import sheets, words
from training.comparing.comparison import Comparison
from training.comparing.page import where
from training.report.markdown import sheet
from training.report.provenance import made_by


def markdown(c: Comparison) -> str:
    """GitHub-flavoured Markdown."""
    e, p = c.standings.evaluation, c.provenance
    parts = [
        f"# {c.dataset}: candidates compared",
        f"{where(c).capitalize()}: {e.n:,} questions about {e.n_images:,} images.",
        f"**{words.headline(c)}**",
        *words.sentences(c),
        "## Over the whole frontier",
        sheet(sheets.areas(c)),
        "## At equal tokens",
        sheet(sheets.levels(c)),
        sheet(sheets.bands(c)),
        "## At a setting",
        sheet(sheets.settings(c)),
        sheet(sheets.costs(c)),
    ]
    if c.ablation:
        parts += ["## Without a group of route inputs", sheet(sheets.ablation(c))]
    if c.learning:
        parts += ["## What labels buy", sheet(sheets.learning(c))]
    if c.proofs:
        parts += ["## Certified on many draws", sheet(sheets.proofs(c))]
    if c.failures:
        parts += ["## Failures", sheet(sheets.failures(c))]
    parts.append(
        f"{made_by(p)}, backbone `{p['backbone_fingerprint']}`, {c.wanted.seeds} training seeds, "
        f"{c.draws} draws, seed {c.seed}."
    )
    return "\n\n".join(parts) + "\n"
