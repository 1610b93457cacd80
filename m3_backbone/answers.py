"""An answer in the making: ids, confidences, and the text that can be shown so far. Torch-free."""

from __future__ import annotations

import re

from m3_backbone.tokenizer import Tokenizer
from m3_backbone.types import FinishReason, Generation, GenerationRequest

_UNSURE = re.compile(r"[\s\ufffd]+\Z")
"""An end that the next token may change: space that would be stripped, bytes that end within a character."""


class Answer:
    """Collects one request's tokens. ``finished`` after a stop id or at ``max_new_tokens``."""

    def __init__(
        self, tokenizer: Tokenizer, stop_ids: frozenset[int], request: GenerationRequest, text_tokens: int
    ) -> None:
        self._tokenizer = tokenizer
        self._stop_ids = stop_ids
        self._request = request
        self._text_tokens = text_tokens
        self._ids: list[int] = []
        self._logprobs: list[float] = []
        self._first_margin = 0.0
        self._shown = ""
        self._reason: FinishReason = "abort"

    @property
    def finished(self) -> bool:
        return self._reason != "abort"

    def add(self, token: int, logprob: float, margin: float, *, stream: bool) -> str:
        """Takes one token; with ``stream``, returns the text that it adds (unsure ends are held back)."""
        if not self._ids:
            self._first_margin = margin
        self._ids.append(token)
        self._logprobs.append(logprob)
        if token in self._stop_ids:
            self._reason = "stop"
        elif len(self._ids) >= self._request.max_new_tokens:
            self._reason = "length"
        if not stream:
            return ""
        text = self._text()
        if not self.finished:
            text = _UNSURE.sub("", text)
        if not text.startswith(self._shown):
            return ""
        added = text[len(self._shown) :]
        self._shown = text
        return added

    def generation(self) -> Generation:
        """What there is; ``finish_reason`` is "abort" unless `finished`."""
        visual = self._request.visual_tokens
        return Generation(
            text=self._text(),
            token_ids=tuple(self._ids),
            logprobs=tuple(self._logprobs),
            first_margin=self._first_margin,
            finish_reason=self._reason,
            prompt_tokens=self._text_tokens + visual,
            visual_tokens=visual,
        )

    def _text(self) -> str:
        """As the reference's evaluation reads it: special tokens skipped, space at the ends stripped."""
        return self._tokenizer.decode(self._ids).strip()
