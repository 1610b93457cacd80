"""What a finished outcome table holds, for the terminal: of `label`, `merge` and `import`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from data.records import OutcomeTable
    from training.shards import EmptyPart


def unreadable_images(made: OutcomeTable | EmptyPart) -> dict[str, str]:
    """Image id -> why it could not be opened."""
    known = made.manifest.get("unreadable_images")
    return known if isinstance(known, dict) else {}


def summary(table: OutcomeTable, out: Path) -> Table:
    """Scores and tokens by scale, for the terminal."""
    from data.unreadable import NAME, listed_images

    shown = Table(title=f"{len(table)} samples of {len(table.image_ids)} images in {out}")
    for column in ("scale", "score", "visual tokens", "answer tokens"):
        shown.add_column(column, justify="right")
    for s, scale in enumerate(table.scales):
        shown.add_row(
            str(scale),
            f"{table.scores[:, s].mean():.4f}",
            f"{table.visual_tokens[:, s].mean():.1f}",
            f"{table.answer_tokens[:, s].mean():.1f}",
        )
    shown.add_row("best of all", f"{table.scores.max(axis=1).mean():.4f}", "", "")
    notes = []
    if unreadable := unreadable_images(table):
        rest = len(unreadable.keys() - listed_images(out))
        of = f"the questions of {len(unreadable) - rest} of them" if rest else "the questions"
        notes.append(f"{_counted(len(unreadable), 'image')} could not be opened; {NAME} has {of}.")
    if isinstance(left_out := table.manifest.get("left_out"), dict):
        notes += [f"{_counted(count, 'row')} left out for {reason}." for reason, count in left_out.items()]
    shown.caption = "\n".join(notes) or None
    return shown


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
