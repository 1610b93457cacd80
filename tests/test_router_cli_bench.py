"""``bench``: a table for people, then one JSON line, with ratios within the run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from m3_backbone.fake import FakeEngine
from router.cli.pictures import generated
from router.settings import Settings
from tests.commandline import Run, is_one_line, runner
from tests.serving import ScriptedRouter, picture

SCALES = ["1", "9", "36", "144", "576"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(monkeypatch, capsys)


def test_bench_ends_with_one_json_line_of_rows_and_ratios(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.cli.loading.load_router", lambda settings, engine: ScriptedRouter())
    done = run("bench", "--engine", "fake", "-n", 4, "--repeats", 2)
    assert done.code == 0, done.err
    *table, line = done.out.splitlines()
    summary = json.loads(line)
    assert list(summary["rows"]) == [*SCALES, "routed"]
    assert summary["ratios"]["576"] == {"throughput": 1, "latency_p50": 1, "visual_tokens": 1, "flops": 1}
    assert summary["rows"]["routed"]["visual_tokens"] == 36
    assert summary["ratios"]["routed"]["visual_tokens"] == 0.0625
    assert all(row["requests_per_s"] > 0 for row in summary["rows"].values())
    assert any("routed" in row for row in table)
    assert summary["router_alone"] is None  # no bundle, nothing to time


def test_bench_without_a_router_times_the_fixed_scales(run: Run) -> None:
    summary = json.loads(run("bench", "--engine", "fake", "-n", 2, "--repeats", 1).out.splitlines()[-1])
    assert list(summary["rows"]) == SCALES
    assert summary["ratios_to"] == "576"
    assert summary["engine"] == "fake"
    assert summary["router"] is None


def test_bench_takes_pictures_and_questions_of_ones_own(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    (tmp_path / "b.jpg").write_bytes(picture(format="JPEG"))
    (tmp_path / "notes.txt").write_text("no picture")
    done = run(
        "bench", "--engine", "fake", "-n", 2, "--repeats", 1, "--images", tmp_path, "--question", "What?"
    )
    assert json.loads(done.out.splitlines()[-1])["pictures"] == 2


@pytest.mark.parametrize("name", [".", "missing"])
def test_a_folder_without_pictures_is_refused(run: Run, tmp_path: Path, name: str) -> None:
    done = run("bench", "--engine", "fake", "--images", tmp_path / name)
    assert is_one_line(done), done
    assert "No picture can be read" in done.err


def test_generated_pictures_are_the_same_for_the_same_seed() -> None:
    assert generated(3) == generated(3)
    assert len(set(generated(3))) == 3
    assert generated(1, seed=1) != generated(1)


def test_every_request_encodes_its_own_image(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    engines: list[FakeEngine] = []

    def load_engine(settings: Settings) -> FakeEngine:
        engines.append(FakeEngine(image_cache_bytes=settings.image_cache_bytes))
        return engines[-1]

    monkeypatch.setattr("router.cli.loading.load_engine", load_engine)
    assert run("bench", "--engine", "fake", "-n", 4, "--repeats", 2).code == 0
    assert engines[0].fake.encoded == len(SCALES) * (1 + 4 * 2)  # a warm-up, then two rounds of four
