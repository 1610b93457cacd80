"""How a checkpoint was trained: pieces, one after the other."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from m3_backbone import embedded_path
from training.backbone import history
from training.backbone.recipe import SCALES, Recipe


def metrics(start: str | None = None, steps: int = 200, *, clocked: bool = True) -> list[dict[str, Any]]:
    """Of a run with a row every 20 seconds and an exam every 50 rows."""
    rows: list[dict[str, Any]] = []
    if start:
        rows.append({"time": 1000.0, "stage": "start", "name": "x", "fingerprint": start})
    for stage in ("tower", "language"):
        for k in range(1, steps + 1):
            row = {"time": 1000.0 + 20 * k, "stage": stage, "step": 3 * k, "loss": 9 / k, "phase": 1}
            rows.append(row | {"accuracy": {"word": k / steps}} | ({"minutes": k / 3} if clocked else {}))
            if stage == "language" and k % 50 == 0:
                accuracy = {"all": {str(scale): scale / 1000 + k / 1000 for scale in SCALES}, "signs": {}}
                exam = {"time": row["time"], "stage": "exam", "step": 3 * k, "accuracy": accuracy}
                rows.append(exam | ({"minutes": k / 3} if clocked else {}))
    return rows


def test_a_piece_has_the_curves_of_its_stages_thinned_with_their_ends() -> None:
    piece = history.piece(metrics("abc"), Recipe(images=500, start="/here"))
    assert piece["start"] == "abc"
    assert piece["recipe"]["images"] == 500
    assert "start" not in piece["recipe"]
    for stage in ("tower", "language"):
        assert 30 <= len(piece[stage]) <= history.MOST_ROWS
        assert piece[stage][-1]["step"] == 600
    assert piece["tower"][-1]["accuracy"] == {"word": 1.0}
    assert [row["step"] for row in piece["exams"]] == [150, 300, 450, 600]
    assert piece["exams"][1]["accuracy"] == {str(scale): scale / 1000 + 0.1 for scale in SCALES}


def test_runs_that_kept_no_minutes_are_timed_by_their_clock() -> None:
    piece = history.piece(metrics(clocked=False), Recipe())
    assert piece["start"] is None
    assert piece["language"][-1]["minutes"] == round(199 * 20 / 60, 2)
    assert piece["exams"][0]["minutes"] == round(49 * 20 / 60, 2)


def test_a_run_without_a_stage_has_no_rows_of_it() -> None:
    piece = history.piece([], Recipe())
    assert (piece["tower"], piece["language"], piece["exams"]) == ([], [], [])
    assert any("as before" in line for line in history.markdown([piece]))


def test_pieces_are_kept_beside_the_weights_and_told_one_after_the_other(tmp_path: Path) -> None:
    pieces = [history.piece(metrics(), Recipe()), history.piece(metrics("abc"), Recipe(images=9_000))]
    history.write(tmp_path, pieces)
    assert history.read(tmp_path) == json.loads(json.dumps(pieces))
    text = "\n".join(history.markdown(pieces))
    assert "| 1 | 16,000 | 67 minutes, 600 updates | 67 minutes, 600 updates | 2 |" in text
    assert "| 2 | 9,000 | 67 minutes, 600 updates |" in text
    assert "| 2 | 33 | 300 | 0.10 | 0.11 | 0.14 | 0.24 | 0.68 |" in text
    assert "is not told here" not in text
    assert "(abc) were trained is not told here" in "\n".join(history.markdown(pieces[1:]))


def test_pieces_are_counted_from_the_number_of_the_first_that_is_kept() -> None:
    first = {**history.piece(metrics("abc"), Recipe()), "number": 3}
    text = "\n".join(history.markdown([first, history.piece(metrics("def"), Recipe(images=9_000))]))
    assert "| 3 | 16,000 |" in text
    assert "| 4 | 9,000 |" in text
    assert "| 4 | 33 | 300 |" in text
    assert "\n| 1 | " not in text


def test_the_card_of_m3_tiny_counts_the_pieces_as_they_are_kept() -> None:
    folder = embedded_path()
    assert "\n".join(history.markdown(history.read(folder))) in (folder / "README.md").read_text(
        encoding="utf-8"
    )


def test_the_picture_has_a_line_for_every_scale_and_the_same_bytes_again(tmp_path: Path) -> None:
    pieces = [history.piece(metrics(), Recipe()), history.piece(metrics("abc"), Recipe())]
    picture = history.picture(pieces)
    assert picture == history.picture(pieces)
    texts = {text.text for text in ET.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")}
    assert {"1", "9", "36", "144", "576", "minutes of training the language model"} <= texts


def test_the_pieces_before_are_those_of_the_beginning_whatever_is_written_over_them(tmp_path: Path) -> None:
    start, run = tmp_path / "start", tmp_path / "run"
    start.mkdir()
    run.mkdir()
    first, second = history.piece(metrics(), Recipe()), history.piece(metrics("abc"), Recipe(images=9_000))
    history.write(start, [first])
    history.begin(run, start)
    history.write(start, [first, second])  # the run's own export went over its start
    history.begin(run, start)
    assert history.read(run, history.BEFORE) == json.loads(json.dumps([first]))


def test_a_checkpoint_that_tells_nothing_has_no_pieces(tmp_path: Path) -> None:
    assert history.read(tmp_path) == []
    (tmp_path / history.NAME).write_text("{")
    assert history.read(tmp_path) == []
