"""The decision log: whole lines of numbers and names."""

from __future__ import annotations

import json
from io import FileIO
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from router.decisions import SCHEMA_VERSION, DecisionLog, DecisionLogError, DecisionRecord
from router.policy import Decision


def record(request_id: str = "r") -> DecisionRecord:
    decision = Decision(36, "utility", "because", False, {1: 0.25, 36: 0.9}, {1: 0.2, 36: 0.8}, None)
    return DecisionRecord.of(
        decision,
        request_id=request_id,
        endpoint="/v1/answer",
        model="m",
        router="v",
        visual_tokens=36,
        full_visual_tokens=576,
        timings_ms={"total": 1.5},
    )


def test_a_record_is_one_line_of_json_that_names_its_schema(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path / "log.jsonl")
    log.write(record())
    log.close()
    (line,) = (tmp_path / "log.jsonl").read_text().splitlines()
    fields = json.loads(line)
    assert fields["schema_version"] == SCHEMA_VERSION
    assert fields["probabilities"] == {"1": 0.25, "36": 0.9}
    assert fields["scale"] == 36
    assert fields["time"].endswith("+00:00")


def test_an_existing_log_is_continued(tmp_path: Path) -> None:
    for name in ("first", "second"):
        log = DecisionLog(tmp_path / "log.jsonl")
        log.write(record(name))
        log.close()
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["request_id"] for line in lines] == ["first", "second"]


def many(log: DecisionLog) -> None:
    for _ in range(50):
        log.write(record())


def test_lines_of_many_threads_do_not_mix(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path / "log.jsonl")
    threads = [Thread(target=lambda: many(log)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert len([json.loads(line) for line in lines]) == 200


def test_a_line_cut_short_does_not_spoil_the_next(tmp_path: Path) -> None:
    class Full(FileIO):
        """A file that takes half of the first line."""

        full = True

        def write(self, data: Any) -> int:
            data = data[: len(data) // 2] if self.full else data
            self.full = False
            return super().write(data)

    log = DecisionLog(tmp_path / "log.jsonl")
    log.close()
    log._file = Full(tmp_path / "log.jsonl", "a")
    with pytest.raises(OSError, match="cut short"):
        log.write(record("first"))
    log.write(record("second"))
    log.close()
    torn, whole = (tmp_path / "log.jsonl").read_text().splitlines()
    assert json.loads(whole)["request_id"] == "second"
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        json.loads(torn)


def test_a_log_that_cannot_be_opened_names_the_variable_and_the_reason(tmp_path: Path) -> None:
    with pytest.raises(DecisionLogError, match=r"M3_DECISION_LOG has value .* \(No such file or directory\)"):
        DecisionLog(tmp_path / "missing" / "log.jsonl")
