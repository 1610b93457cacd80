"""What a reader leaves out, counted: nothing is skipped silently."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from data.sources.files import SourceError

DUPLICATE = "an id that came before"


@dataclass(slots=True)
class Skipped:
    """counts: reason -> rows left out for it. first: reason -> the first such row's place.

    duplicates: whether a row whose id came before is left out and counted; else it is an error.
    """

    duplicates: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, where: str) -> None:
        """A row is left out: the table will have no sample of it. reason: completes "left out for ..."."""
        self.counts[reason] += 1
        self.first.setdefault(reason, where)

    def repeats(self, seen: dict[str, int], sample_id: str, where: str) -> bool:
        """False for a new id, which is remembered in ``seen``; True for one to be left out.

        Raises `SourceError` for an id that came before, unless those are to be left out.
        """
        if sample_id not in seen:
            seen[sample_id] = len(seen) + 1
            return False
        if not self.duplicates:
            raise SourceError(
                f"{where}: id {sample_id!r} was already used by row {seen[sample_id]}. Make ids unique, or "
                "leave such rows out with --skip-duplicates."
            )
        self.add(DUPLICATE, where)
        return True

    def sentences(self) -> list[str]:
        """One line per reason, for a person."""
        return [
            f"{count} left out for {reason} (the first: {self.first[reason]})."
            for reason, count in self.counts.items()
        ]
