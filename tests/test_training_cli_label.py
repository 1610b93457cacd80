from __future__ import annotations

import json
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

import m3_backbone
from data.records import read_outcomes
from data.unreadable import NAME
from m3_backbone.prompt import CONVERSATIONS, Conversation
from m3_backbone.scales import Ladder
from m3_backbone.types import (
    CheckpointError,
    Generation,
    GenerationRequest,
    KvBudgetExceeded,
    OutOfMemory,
    PromptTooLong,
)
from tests.labelling import FakeBackbone
from tests.sources import lines, picture
from training.cli.label import command


@dataclass
class Loaded(FakeBackbone):
    """What `load_backbone` gives, as far as labelling asks."""

    template: Conversation = CONVERSATIONS["m3_tiny"]
    fails: BaseException | None = None

    def generate(self, requests: Sequence[GenerationRequest]) -> list[Generation]:
        if self.fails is not None:
            raise self.fails
        return super().generate(requests)


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    rows = [{"image": "a.png", "question": f"q{i}", "answers": ["yes"]} for i in range(6)]
    rows.append({"image": "none.png", "question": "q", "answers": ["yes"]})
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dataset: Path) -> Run:
    app = typer.Typer()
    app.command()(command)

    def go(
        *arguments: str,
        data: str = str(dataset),
        model: object = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[int, str]:
        def load_backbone(path: str, **asked: Any) -> object:
            (options if options is not None else {}).update(asked)
            if isinstance(model, ValueError):
                raise model
            return model or Loaded()

        monkeypatch.setitem(m3_backbone.__dict__, "load_backbone", load_backbone)
        result = CliRunner().invoke(app, ["--dataset", data, "--out", str(tmp_path / "out"), *arguments])
        return result.exit_code, " ".join(result.output.split())

    return go


def test_a_table_is_written_and_summed_up(run: Run, tmp_path: Path) -> None:
    code, text = run()
    assert code == 0, text
    assert "6 samples of 1 images" in text
    assert "1 image could not be opened" in text
    table = read_outcomes(tmp_path / "out")
    assert len(table) == 6
    assert table.manifest["prompt"] == "m3_tiny"
    assert f"{table.scores[:, 0].mean():.4f}" in text


def test_questions_about_an_image_that_cannot_be_opened_are_rows_with_the_error(
    run: Run, tmp_path: Path
) -> None:
    code, text = run()
    assert code == 0, text
    table = read_outcomes(tmp_path / "out")
    ((image, why),) = table.manifest["unreadable_images"].items()  # type: ignore[attr-defined]
    rows = [json.loads(line) for line in (tmp_path / "out" / NAME).read_text().splitlines()]
    assert rows
    assert {row["image_id"] for row in rows} == {image}
    assert {row["error"] for row in rows} == {why}
    assert not {row["sample_id"] for row in rows} & set(table.sample_ids)
    assert all(row["question"] for row in rows)


def test_a_part_of_which_no_image_can_be_opened_is_finished_and_its_questions_are_rows(
    run: Run, tmp_path: Path
) -> None:
    for _ in range(2):  # the second time it is there already
        code, text = run("--shard", "2/2")
        assert code == 0, text
        assert "No image of this part could be opened" in text
        assert "`m3-train merge` takes it" in text
        (row,) = map(json.loads, (tmp_path / "out" / NAME).read_text().splitlines())
        assert row["question"] == "q"


def test_the_limit_holds_and_may_be_raised(run: Run, tmp_path: Path) -> None:
    assert run("--limit", "2")[0] == 0
    assert len(read_outcomes(tmp_path / "out")) == 2
    assert run("--limit", "4")[0] == 0
    assert len(read_outcomes(tmp_path / "out")) == 4


@pytest.mark.parametrize(
    ("arguments", "model", "exit_code", "message"),
    [
        ({"data": "nothing"}, None, 2, "m3-train: Data set 'nothing' is not known."),
        ({"data": "none.jsonl"}, None, 2, "m3-train: none.jsonl cannot be read"),
        ({}, CheckpointError("config.json is missing"), 2, "m3-train: config.json is missing"),
        ({}, Loaded(fails=OutOfMemory("does not fit")), 1, "Stopped: does not fit Finished shards are in"),
        ({}, Loaded(fails=OSError(28, "No space left")), 1, "No space left Finished shards are in"),
    ],
)
def test_what_goes_wrong_is_one_line_and_an_exit_code(
    run: Run, arguments: dict[str, str], model: object, exit_code: int, message: str
) -> None:
    code, text = run(model=model, **arguments)
    assert code == exit_code
    assert message in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("options", "fault", "remedy"),
    [
        (["--kv-budget", "9999"], KvBudgetExceeded("700 bytes."), "give a larger --kv-budget, or none, and"),
        (
            ["--prompt-limit", "64"],
            PromptTooLong("700 tokens."),
            "give a larger --prompt-limit, or none, and",
        ),
        (["--prompt-limit", "64"], KvBudgetExceeded("700 bytes."), "give a larger --kv-budget"),
        ([], PromptTooLong("700 tokens."), "leave that question out of the data set, or label the scales"),
    ],
)
def test_a_question_that_does_not_fit_names_the_option_to_change_and_not_the_same_command(
    run: Run, options: list[str], fault: Exception, remedy: str
) -> None:
    code, text = run(*options, model=Loaded(fails=fault))
    assert code == 2
    assert f"m3-train: {fault} Every scale is labelled" in text
    assert remedy in text
    assert "same command" not in text
    code, text = run(*options)  # what was finished is continued
    assert code == 0, text


def test_labels_of_another_checkpoint_are_refused(run: Run) -> None:
    assert run()[0] == 0
    code, text = run(model=Loaded(fingerprint="other"))
    assert code == 2
    assert "backbone_fingerprint was 'fake-1' and is now 'other'" in text


def test_ctrl_c_says_how_to_continue(run: Run) -> None:
    code, text = run(model=Loaded(fails=KeyboardInterrupt()))
    assert code == 130
    assert "the same command continues" in text


@dataclass
class Interrupted(Loaded):
    """Somebody presses Ctrl-C while the first images are answered, ``times`` times."""

    times: int = 1

    def generate(self, requests: Sequence[GenerationRequest]) -> list[Generation]:
        for _ in range(self.times):
            signal.raise_signal(signal.SIGINT)
        self.times = 0
        return super().generate(requests)


@pytest.fixture
def two_images(tmp_path: Path) -> str:
    for number in range(2):
        picture(tmp_path / f"{number}.png", number)
    rows = [{"image": f"{number}.png", "question": "q", "answers": ["yes"]} for number in range(2)]
    return str(lines(tmp_path / "two.jsonl", *rows))


def test_the_first_ctrl_c_finishes_the_shard_and_says_how_to_resume(
    run: Run, tmp_path: Path, two_images: str
) -> None:
    before = signal.getsignal(signal.SIGINT)
    code, text = run("--shard-images", "1", data=two_images, model=Interrupted())
    assert code == 130
    assert "Stopped: 1 of 2 samples are labelled, in whole shards" in text
    assert "To resume: the same command continues where it stopped." in text
    assert signal.getsignal(signal.SIGINT) is before
    assert run("--shard-images", "1", data=two_images)[0] == 0
    assert len(read_outcomes(tmp_path / "out")) == 2


def test_the_second_ctrl_c_stops_at_once(run: Run, tmp_path: Path, two_images: str) -> None:
    code, text = run(data=two_images, model=Interrupted(times=2))
    assert code == 130
    assert "the shard in flight is lost" in text
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_some_scales_are_labelled_and_others_are_refused(run: Run, tmp_path: Path) -> None:
    assert run("--scales", "36,9")[0] == 0
    assert read_outcomes(tmp_path / "out").scales == (9, 36)
    for scales, message in (
        ("9,37", "Scale 37 is not on the ladder. Valid scales: 1, 9, 36"),
        ("9-36", "as in 9,36,576"),
    ):
        code, text = run("--scales", scales)
        assert code == 2
        assert message in text


def test_rows_with_an_id_that_came_before_are_left_out_when_asked_for(run: Run, tmp_path: Path) -> None:
    picture(tmp_path / "0.png")
    row = {"image": "0.png", "question": "q", "answers": ["yes"], "id": 1}
    data = str(lines(tmp_path / "twice.jsonl", row, row))
    code, text = run(data=data)
    assert code == 2
    assert "twice.jsonl, line 2: id 'twice/1' was already used by row 1" in text
    assert not (tmp_path / "out").exists()
    code, text = run("--skip-duplicates", data=data)
    assert code == 0, text
    assert "1 left out for an id that came before (the first: " in text
    table = read_outcomes(tmp_path / "out")
    assert table.manifest["left_out"] == {"an id that came before": 1}
    assert table.manifest["question_prompts"] == {"as_written": "{question}"}


def test_how_the_backbone_runs_is_asked_for_by_flags_and_part_of_the_labels(run: Run, tmp_path: Path) -> None:
    got: dict[str, Any] = {}
    how = ("--compile", "--kv-budget", "99999", "--prompt-limit", "512")
    code, text = run(*how, "--ladder", "1,9,36", "--vision-tower", "clip", options=got)
    assert code == 0, text
    assert [got[key] for key in ("compiled", "kv_budget_bytes", "prompt_limit", "reducer")] == [
        *(True, 99999, 512),
        "average",
    ]
    assert (got["ladder"], got["vision_tower"]) == (Ladder((1, 9, 36)), "clip")
    assert read_outcomes(tmp_path / "out").manifest["compiled"] is True
    for flags, message in (
        ((), "compiled was True and is now None"),
        (("--reducer", "spatial"), "labels of"),
        (("--ladder", "1,8"), "Scale 8 is not a square number"),
    ):
        code, text = run(*flags)
        assert code == 2
        assert message in text
