"""Ends a stream of tokens at the first of several texts, which is not shown itself (OpenAI's ``stop``)."""

from __future__ import annotations

from dataclasses import replace

from m3_backbone.types import TokenEvent


class Stopping:
    """What clients may see of a stream. ``stopped`` tells when the rest of it is of no use.

    Text that may be the beginning of a stop is held back until it is known, so that nothing is taken back.
    """

    def __init__(self, stops: tuple[str, ...]) -> None:
        self.stopped = False
        self._stops = stops
        self._held = ""
        self._shown = ""

    def cut(self, event: TokenEvent) -> TokenEvent:
        """``event`` with the text that may be shown now; the last one has the whole text as cut."""
        text = "" if self.stopped else self._show(event.text, last=event.generation is not None)
        self._shown += text
        generation = event.generation
        if generation is not None and self.stopped:
            generation = replace(generation, text=self._shown, finish_reason="stop")
        return replace(event, text=text, generation=generation)

    def _show(self, text: str, *, last: bool) -> str:
        held = self._held + text
        found = [at for at in map(held.find, self._stops) if at >= 0]
        begun = len(held) - (0 if last else max(_overlap(held, stop) for stop in self._stops))
        # Not yet when a longer stop may have begun before it: the first one in the whole text counts.
        if found and min(found) <= begun:
            self.stopped = True
            return held[: min(found)]
        self._held = held[begun:]
        return held[:begun]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of ``text`` that ``stop`` begins with.

    >>> _overlap("a stor", "stop"), _overlap("a sto", "stop")
    (0, 3)
    """
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)
