"""The decision log: a row per routed request, and one per watched answer, for audits and for calibration.

It holds numbers and names only - never the question, the image, the answer or anything derived from
them that could be looked up (no hashes).

Two tables of Parquet files (`router.parquet_log`): ``decisions``, what was decided and what it cost, and
``watched``, whether the answers at all scales agreed with the full scale's, from which
`training.recalibrate` can calibrate a bundle anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from router.errors import M3Error
from router.parquet_log import FLUSH_S, ROWS, ParquetLog
from router.policy import Decision

DECISIONS, WATCHED = "decisions", "watched"
VERSIONS = {DECISIONS: 3, WATCHED: 2}
"""Of each table's schema."""
GIB = 2**30


class DecisionLogError(M3Error):
    """The log's folder cannot be written to."""

    code = "decision_log"


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """A row of ``decisions``. Tokens are of this request; times are in milliseconds, by stage.

    probabilities, expected_scores: by scale, in the order of ``scales``; all three empty when nothing was
    predicted. fallback: a label (`router.service.results.Routed`). passes: the scales of all answers made, in
    order; several of a cascade, none where nothing was generated. ``scale`` and ``reason`` are of the last,
    ``visual_tokens`` of all.
    """

    time: datetime  # UTC
    request_id: str
    endpoint: str
    model: str
    router: str | None
    scale: int
    policy: str
    reason: str
    certified: bool
    fallback: str | None
    scales: tuple[int, ...]
    probabilities: tuple[float, ...]
    expected_scores: tuple[float, ...]
    visual_tokens: int
    full_visual_tokens: int
    timings_ms: Mapping[str, float]
    passes: tuple[int, ...]

    @classmethod
    def of(cls, decision: Decision, **facts: Any) -> DecisionRecord:
        """A record of ``decision`` made now; ``facts`` are the fields that a decision does not have."""
        return cls(
            time=datetime.now(UTC),
            scale=decision.scale,
            policy=decision.policy,
            reason=decision.reason,
            certified=decision.certified,
            scales=tuple(decision.probabilities),
            probabilities=tuple(decision.probabilities.values()),
            expected_scores=tuple(decision.expected_scores.values()),
            **facts,
        )


@dataclass(frozen=True, slots=True)
class WatchedRecord:
    """A row of ``watched``: lists are in the order of ``scales``.

    agreed: whether the answer that was given says what the full scale's says. agrees: the same of the answer
    at each scale, None where there is none. probabilities, expected_scores: as they were when it was decided,
    calibrated; empty when nothing was predicted. fell_back: the router did not choose ``scale``.
    """

    time: datetime  # UTC
    request_id: str
    model: str
    router: str
    scale: int
    fell_back: bool
    agreed: bool
    scales: tuple[int, ...]
    visual_tokens: tuple[int, ...]
    probabilities: tuple[float, ...]
    expected_scores: tuple[float, ...]
    agrees: tuple[bool | None, ...]

    @classmethod
    def of(cls, decision: Decision, **facts: Any) -> WatchedRecord:
        """A record about ``decision`` made now; ``facts`` are the fields that a decision does not have."""
        return cls(
            time=datetime.now(UTC),
            scale=decision.scale,
            fell_back=decision.fallback is not None,
            probabilities=tuple(decision.probabilities.values()),
            expected_scores=tuple(decision.expected_scores.values()),
            **facts,
        )


class DecisionLog:
    """Takes records; they are on the disk within a minute. Safe to use from several threads."""

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int = GIB,
        lost: Callable[[int], None] = lambda rows: None,
        rows: int = ROWS,
        flush_s: float = FLUSH_S,
    ) -> None:
        """Parameters as of `ParquetLog`. Raises `DecisionLogError` when ``folder`` cannot be written to."""
        try:
            self._log = ParquetLog(
                folder, schemas(), max_bytes=max_bytes, lost=lost, rows=rows, flush_s=flush_s
            )
        except OSError as error:
            raise DecisionLogError(
                f"M3_DECISION_LOG has value '{folder}'. It is not a folder that can be written to "
                f"({error.strerror})."
            ) from error

    def write(self, record: DecisionRecord | WatchedRecord) -> None:
        """Take one row; raises OSError when the disk does not keep up."""
        row = asdict(record)
        if isinstance(record, WatchedRecord):
            self._log.write(WATCHED, row)
        else:
            self._log.write(DECISIONS, {**row, "timings_ms": list(record.timings_ms.items())})

    def close(self) -> None:
        """Writes what waits."""
        self._log.close()


def schemas() -> dict[str, Any]:
    """Table -> `pyarrow.Schema`, whose metadata names the version."""
    import pyarrow as pa

    scales, floats = pa.list_(pa.int32()), pa.list_(pa.float32())
    kinds: dict[type | str, Any] = {
        "datetime": pa.timestamp("ms", tz="UTC"),
        "str": pa.string(),
        "str | None": pa.string(),
        "int": pa.int32(),
        "bool": pa.bool_(),
        "tuple[int, ...]": scales,
        "tuple[float, ...]": floats,
        "tuple[bool | None, ...]": pa.list_(pa.bool_()),
        "Mapping[str, float]": pa.map_(pa.string(), pa.float32()),
    }
    return {
        table: pa.schema(
            [(name, kinds[kind]) for name, kind in record.__annotations__.items()],
            {"schema_version": str(VERSIONS[table])},
        )
        for table, record in ((DECISIONS, DecisionRecord), (WATCHED, WatchedRecord))
    }
