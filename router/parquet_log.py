"""Rows that go into a folder as Parquet files, one after another, without making the writer of a row wait.

A file holds what came in a minute, or a few thousand rows, and is whole from the moment that it has its name.
What came since the last file is lost when the process is killed.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

logger = logging.getLogger("m3_router")

ROWS = 4096
FLUSH_S = 60.0
ABANDONED_S = 3600.0
"""Nobody takes that long to write a file."""


class LogFull(OSError):
    """So many rows wait for the disk that this one is not taken."""


class ParquetLog:
    """Tables side by side in ``folder``: ``TABLE-TIME-PID-N.parquet``. Safe to use from several threads.

    schemas: table -> `pyarrow.Schema`. max_bytes: of all files; the oldest are removed for new ones. lost: is
    told how many rows a file that could not be written would have held; called from the writing thread.
    rows, flush_s: so many rows, or so many seconds, make a file.
    """

    def __init__(
        self,
        folder: Path,
        schemas: Mapping[str, Any],
        *,
        max_bytes: int,
        lost: Callable[[int], None],
        rows: int = ROWS,
        flush_s: float = FLUSH_S,
    ) -> None:
        """Makes ``folder`` if need be; raises OSError when it cannot be written to."""
        self._folder = folder
        self._schemas = dict(schemas)
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
        for changed_ns, _, path in self._ages("."):  # of a process that was killed while it wrote
            if time.time_ns() - changed_ns > ABANDONED_S * 1e9:
                path.unlink(missing_ok=True)
        self._max_bytes = max_bytes
        self._lost = lost
        self._rows = rows
        self._flush_s = flush_s
        self._lock = threading.Lock()
        self._pending: dict[str, list[dict[str, Any]]] = {table: [] for table in schemas}
        self._wake = threading.Event()
        self._closing = False
        self._written = 0
        self._thread = threading.Thread(target=self._work, name="m3-log", daemon=True)
        self._thread.start()

    def write(self, table: str, row: dict[str, Any]) -> None:
        """Take ``row``; it is on the disk a little later. Raises `LogFull`."""
        with self._lock:
            pending = self._pending[table]
            if len(pending) >= 4 * self._rows:
                raise LogFull("The disk does not keep up with the log.")
            pending.append(row)
            if len(pending) >= self._rows:
                self._wake.set()

    def close(self) -> None:
        """Writes what waits, for at most some seconds."""
        self._closing = True
        self._wake.set()
        self._thread.join(10)

    def _work(self) -> None:
        while not self._closing:
            self._wake.wait(self._flush_s)
            self._wake.clear()
            self._flush()
        self._flush()

    def _flush(self) -> None:
        with self._lock:
            taken, self._pending = self._pending, {table: [] for table in self._schemas}
        for table, rows in taken.items():
            if not rows:
                continue
            try:
                self._file(table, rows)
            except Exception as error:  # the disk's, or a value that the schema does not take
                self._lost(len(rows))
                logger.warning(
                    "%d rows of the decision log are lost: %s could not be written (%s).",
                    len(rows),
                    table,
                    type(error).__name__,
                )
        if any(taken.values()):
            self._prune()

    def _file(self, table: str, rows: list[dict[str, Any]]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._written += 1
        name = f"{table}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{os.getpid()}-{self._written}.parquet"
        unfinished = self._folder / f".{name}"
        try:
            content = pa.Table.from_pylist(rows, schema=self._schemas[table])
            pq.write_table(content, unfinished, compression="zstd")
            unfinished.rename(self._folder / name)
        finally:
            unfinished.unlink(missing_ok=True)

    def _prune(self) -> None:
        """Removes the oldest files where all are too large together. Rows that are there stay counted as
        there, whatever comes of it; the next file tries again."""
        try:
            ages = self._ages("")
            total = sum(size for _, size, _ in ages)
            for _, size, path in ages[:-1]:
                if total <= self._max_bytes:
                    return
                path.unlink(missing_ok=True)
                total -= size
        except OSError as error:
            logger.warning("Old files of the decision log could not be removed (%s).", type(error).__name__)

    def _ages(self, prefix: str) -> list[tuple[int, int, Path]]:
        """(time of the last change in ns, bytes, path) of the tables' files, the oldest first."""
        found = []
        for table in self._schemas:
            for path in self._folder.glob(f"{prefix}{table}-*.parquet"):
                with suppress(FileNotFoundError):  # another service has the folder too, and was faster
                    status = path.stat()
                    found.append((status.st_mtime_ns, status.st_size, path))
        return sorted(found)
