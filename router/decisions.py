"""The decision log: one JSON line per routed request, for audits and for replay.

It holds numbers and names only - never the question, the image, the answer or anything derived from
them that could be looked up (no hashes).
"""

from __future__ import annotations

import errno
import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from router.errors import M3Error
from router.policy import Decision

SCHEMA_VERSION = 1


class DecisionLogError(M3Error):
    """The log's file cannot be opened for appending."""

    code = "decision_log"


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """One line of the log. Tokens are of this request; times are in milliseconds."""

    time: str  # ISO 8601, UTC
    request_id: str
    endpoint: str
    model: str
    router: str | None
    scale: int
    policy: str
    reason: str
    certified: bool
    fallback: str | None
    probabilities: Mapping[str, float]
    expected_scores: Mapping[str, float]
    visual_tokens: int
    full_visual_tokens: int
    timings_ms: Mapping[str, float]
    schema_version: int = SCHEMA_VERSION

    @classmethod
    def of(cls, decision: Decision, **facts: Any) -> DecisionRecord:
        """A record of ``decision`` made now; ``facts`` are the fields that a decision does not have."""
        return cls(
            time=datetime.now(UTC).isoformat(timespec="milliseconds"),
            scale=decision.scale,
            policy=decision.policy,
            reason=decision.reason,
            certified=decision.certified,
            fallback=decision.fallback,
            probabilities={str(s): round(p, 6) for s, p in decision.probabilities.items()},
            expected_scores={str(s): round(e, 6) for s, e in decision.expected_scores.items()},
            **facts,
        )


class DecisionLog:
    """Appends records to a file, a whole line at a time. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        """Opens ``path`` for appending; raises `DecisionLogError` when that fails."""
        try:
            # Unbuffered: a line that the disk refused is gone, and does not come back with the next one.
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise DecisionLogError(
                f"M3_DECISION_LOG has value '{path}'. It cannot be opened for appending ({error.strerror})."
            ) from error
        self._lock = threading.Lock()
        self._torn = False

    def write(self, record: DecisionRecord) -> None:
        """Append one line; raises OSError when the disk refuses it. A line cut short stays alone."""
        line = json.dumps(asdict(record), separators=(",", ":"), allow_nan=False).encode() + b"\n"
        with self._lock:
            if self._torn:
                line = b"\n" + line
            written = self._file.write(line)
            self._torn = written < len(line)
            if self._torn:
                raise OSError(errno.ENOSPC, "the line was cut short")

    def close(self) -> None:
        self._file.close()
