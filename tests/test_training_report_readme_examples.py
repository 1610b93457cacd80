"""The README's worked examples, on the fake engine: what is drawn, asked and shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from data.scalebench import picture
from m3_backbone.fake import FakeEngine
from training.report.readme import ReadmeError
from training.report.readme_examples import INDICES, Asked, ask, draw, examples


def test_one_picture_of_each_family_is_drawn_with_two_open_questions(tmp_path: Path) -> None:
    asked = draw(tmp_path)
    drawn = {picture("dev", index).family: picture("dev", index) for index in INDICES}
    assert len(drawn) == len(INDICES) == 5
    assert [each.family for each in asked] == [family for family in drawn for _ in range(2)]
    for each in asked:
        with Image.open(tmp_path / each.path) as stored:
            assert stored.convert("RGB").tobytes() == drawn[each.family].image.tobytes()
        assert (each.question, each.answer) in [(q.text, q.answer) for q in drawn[each.family].questions]
        assert each.answer not in ("yes", "no")


def test_a_picture_is_drawn_again_only_where_it_is_another_one(tmp_path: Path) -> None:
    paths = sorted({tmp_path / each.path for each in draw(tmp_path)})
    with Image.open(paths[0]) as stored:
        stored.save(paths[0], compress_level=1)  # the same pixels in other bytes
    kept = paths[0].read_bytes()
    Image.new("RGB", (336, 336), "red").save(paths[1])
    other = paths[1].read_bytes()
    draw(tmp_path)
    assert paths[0].read_bytes() == kept
    assert paths[1].read_bytes() != other


def test_answers_are_those_of_the_running_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("M3_PRICE", "1")  # the environment of who writes the README is not the default
    monkeypatch.setenv("M3_BACKBONE", "/nowhere")
    found = examples(tmp_path, "fake")
    assert set(found) == {"examples", "ask", "reply"}
    reply = json.loads(found["reply"].removeprefix("```json\n").removesuffix("\n```"))
    assert reply["scale"] == 576  # the fake engine has no router
    assert [each["scale"] for each in reply["passes"]] == [576]
    assert reply["decision"]["fallback"] == "no router is loaded"
    assert reply["model"] == FakeEngine().name
    assert reply["timings_ms"]["encode"] > 0
    rows = found["examples"].splitlines()
    assert len(rows) == 12
    first, second, *_ = draw(tmp_path)
    assert (first.family, first.kind) == ("scenes", "background")
    assert rows[2] == f"| scenes | {first.question} | {first.answer} | {reply['answer']} | 576 |"
    assert rows[3].startswith(f"| scenes | {second.question} | {second.answer} | ")


def test_the_command_line_is_shown_with_what_it_prints(tmp_path: Path) -> None:
    (first, *_) = draw(tmp_path)
    text = ask(tmp_path, first, "fake")
    command, printed = text.split("```\n```")
    assert command == f'```bash\n.venv/bin/m3-router ask docs/examples/scenes.png "{first.question}"\n'
    assert "tokens   576 of 576" in printed
    assert "one run" in printed


def test_a_run_that_fails_is_told(tmp_path: Path) -> None:
    gone = Asked("scenes", "colour", Path("nothing.png"), "What is this?", "red")
    with pytest.raises(ReadmeError, match="cannot be read"):
        ask(tmp_path, gone, "fake")
