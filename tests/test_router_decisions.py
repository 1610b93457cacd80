"""The decision log: numbers and names in Parquet files that come one after another."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any

import pyarrow.parquet as pq
import pytest

from router.decisions import (
    VERSIONS,
    DecisionLog,
    DecisionLogError,
    DecisionRecord,
    WatchedRecord,
    schemas,
)
from router.parquet_log import LogFull
from router.policy import Decision

DECISION = Decision(36, "utility", "because", False, {1: 0.25, 36: 0.9}, {1: 0.2, 36: 0.8}, None)


def record(request_id: str = "r") -> DecisionRecord:
    return DecisionRecord.of(
        DECISION,
        request_id=request_id,
        endpoint="/v1/answer",
        model="m",
        router="v",
        fallback=None,
        visual_tokens=36,
        full_visual_tokens=576,
        timings_ms={"total": 1.5},
        passes=(9, 36),
    )


def watched() -> WatchedRecord:
    return WatchedRecord.of(
        DECISION,
        request_id="r",
        model="m",
        router="v",
        agreed=True,
        scales=(1, 36),
        visual_tokens=(1, 36),
        agrees=(None, True),
    )


def rows(folder: Path, table: str = "decisions") -> list[dict[str, Any]]:
    """All of a table, in the order of its files' ages."""
    files = sorted(folder.glob(f"{table}-*.parquet"), key=lambda path: path.stat().st_mtime_ns)
    return [row for path in files for row in pq.read_table(path).to_pylist()]


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_record_is_a_row_of_a_file_that_names_its_schema(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path / "new" / "log")
    before = datetime.now(UTC).replace(microsecond=0)  # times are stored in milliseconds
    log.write(record())
    log.close()
    (row,) = rows(tmp_path / "new" / "log")
    assert row["scales"] == [1, 36]
    assert row["probabilities"] == pytest.approx([0.25, 0.9])
    assert row["timings_ms"] == [("total", 1.5)]
    assert row["passes"] == [9, 36]
    assert (row["scale"], row["fallback"], row["router"]) == (36, None, "v")
    assert before <= row["time"] <= datetime.now(UTC)
    (path,) = (tmp_path / "new" / "log").iterdir()
    assert pq.read_schema(path).metadata[b"schema_version"] == str(VERSIONS["decisions"]).encode()


def test_what_was_watched_is_a_table_of_its_own(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path)
    log.write(watched())
    log.close()
    (row,) = rows(tmp_path, "watched")
    assert row["agrees"] == [None, True]
    assert row["expected_scores"] == pytest.approx([0.2, 0.8])
    assert (row["agreed"], row["fell_back"], row["visual_tokens"]) == (True, False, [1, 36])
    assert rows(tmp_path) == []


def test_every_field_of_a_record_has_a_column() -> None:
    assert schemas()["decisions"].names == list(DecisionRecord.__annotations__)
    assert schemas()["watched"].names == list(WatchedRecord.__annotations__)


def test_a_file_is_made_of_enough_rows_or_after_a_while(tmp_path: Path) -> None:
    many, while_ = DecisionLog(tmp_path / "many", rows=10), DecisionLog(tmp_path / "while", flush_s=0.05)
    for _ in range(10):
        many.write(record())
    while_.write(record())
    eventually(lambda: len(rows(tmp_path / "many")) == 10)
    eventually(lambda: len(rows(tmp_path / "while")) == 1)
    many.close()
    while_.close()
    assert [path.name[0] for path in tmp_path.rglob("*.parquet")] == ["d", "d"]  # nothing unfinished


def test_a_folder_is_continued_and_the_oldest_files_make_room(tmp_path: Path) -> None:
    for name in ("first", "second", "third"):
        log = DecisionLog(tmp_path)
        log.write(record(name))
        log.close()
    assert [row["request_id"] for row in rows(tmp_path)] == ["first", "second", "third"]
    size = max(path.stat().st_size for path in tmp_path.iterdir())
    log = DecisionLog(tmp_path, max_bytes=2 * size + size // 2)
    log.write(record("fourth"))
    log.close()
    assert [row["request_id"] for row in rows(tmp_path)] == ["third", "fourth"]


def test_rows_that_were_written_are_not_lost_when_no_room_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlink, lost = Path.unlink, list[int]()

    def refused(path: Path, missing_ok: bool = False) -> None:
        if path.name.startswith("decisions-"):
            raise PermissionError("not yours")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refused)
    for name in ("first", "second"):
        log = DecisionLog(tmp_path, max_bytes=1, lost=lost.append)
        log.write(record(name))
        log.close()
    assert [row["request_id"] for row in rows(tmp_path)] == ["first", "second"]
    assert lost == []


def test_a_file_that_another_service_has_removed_meanwhile_is_no_loss(tmp_path: Path) -> None:
    gone, lost = tmp_path / "decisions-gone.parquet", list[int]()
    gone.symlink_to(tmp_path / "nowhere")  # found in the folder, and not there when it is looked at
    log = DecisionLog(tmp_path, lost=lost.append)
    log.write(record())
    log.close()
    gone.unlink()
    assert len(rows(tmp_path)) == 1
    assert lost == []


def test_what_a_killed_process_left_unfinished_is_removed_when_it_is_old(tmp_path: Path) -> None:
    old, young = tmp_path / ".decisions-a.parquet", tmp_path / ".watched-b.parquet"
    others = tmp_path / ".mine.parquet"
    for path in (old, young, others):
        path.touch()
    for path in (old, others):
        os.utime(path, (0, 0))
    DecisionLog(tmp_path).close()
    assert sorted(tmp_path.iterdir()) == [others, young]


def test_rows_of_many_threads_are_all_there(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path, rows=64)

    def many() -> None:
        for _ in range(50):
            log.write(record())

    threads = [Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert len(rows(tmp_path)) == 200


def test_a_disk_that_refuses_costs_rows_which_are_counted(tmp_path: Path) -> None:
    lost: list[int] = []
    log = DecisionLog(tmp_path / "log", lost=lost.append)
    log.write(record())
    log.write(record())
    (tmp_path / "log").rmdir()
    log.close()
    assert lost == [2]


def test_no_more_rows_wait_than_the_log_can_hold(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path, rows=1)
    log._log._pending["decisions"] = [{}] * 4  # as if the disk had hung
    with pytest.raises(LogFull):
        log.write(record())
    log._log._pending["decisions"] = []
    log.close()


def test_a_log_that_cannot_be_opened_names_the_variable_and_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DecisionLogError, match=r"M3_DECISION_LOG has value .* \((File exists|Not a dir.*)\)"):
        DecisionLog(tmp_path / "file")
