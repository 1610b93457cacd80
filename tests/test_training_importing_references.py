"""LLaVA's answer files: references come from the data set, and only for the question that was asked.

The rows are made for these tests, in the form that LLaVA's evaluation writes and reads.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from data.records import read_outcomes
from data.sources import SourceError
from tests.sources import lines, read
from training.cli.import_outcomes import command
from training.importing.references import References, question_of, same_question

SUFFIX = "\nAnswer the question using a single word or phrase."


def answer(question_id: Any, prompt: str, text: str) -> dict[str, Any]:
    return {
        "question_id": question_id,
        "prompt": prompt,
        "text": text,
        "answer_id": "a1",
        "model_id": "llava-v1.5-7b-m3",
        "metadata": {},
    }


@pytest.fixture
def textvqa(tmp_path: Path) -> Path:
    def row(number: int, image: str, question: str, said: str) -> dict[str, Any]:
        return {"question_id": number, "image_id": image, "question": question, "answers": [said] * 10}

    path = tmp_path / "TextVQA_0.5.1_val.json"
    rows = [row(7, "abc", "What brand?", "dakota"), row(8, "abc", "What year?", "1998")]
    path.write_text(json.dumps({"data": rows}))
    return path


@pytest.fixture
def pope(tmp_path: Path) -> Path:
    def row(number: int, image: str, thing: str, label: str) -> dict[str, Any]:
        text = f"Is there a {thing} in the image?"
        return {"question_id": number, "image": image, "text": text, "label": label}

    return lines(
        tmp_path / "coco_pope_random.json",
        row(1, "x.jpg", "dog", "yes"),
        row(2, "x.jpg", "cat", "no"),
        row(3, "y.jpg", "dog", "no"),
    )


def run(tmp_path: Path, *arguments: object) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(command)
    base = ["--layout", "llava", "--model", "m3", "--out", tmp_path / "out"]
    result = CliRunner().invoke(app, [str(a) for a in (*base, *arguments)], env={"COLUMNS": "200"})
    assert "Traceback" not in result.output
    return result.exit_code, " ".join(result.output.split())


def test_textvqa_whose_ids_are_images_comes_in_with_one_command(tmp_path: Path, textvqa: Path) -> None:
    files: list[object] = []
    for scale, brand in ((9, "canon"), (576, "Dakota")):
        rows = [
            answer("abc", f"What brand?\nReference OCR token: DAKOTA{SUFFIX}", brand),
            answer("abc", f"What year?{SUFFIX}", "1998"),
        ]
        files += ["--file", f"{scale}={lines(tmp_path / f'{scale}.jsonl', *rows)}"]
    code, text = run(tmp_path, *files, "--references", f"textvqa:{textvqa}")
    assert code == 0, text
    table = read_outcomes(tmp_path / "out")
    assert table.sample_ids == ("textvqa/7", "textvqa/8")
    assert table.scales == (9, 576)
    assert table.scores.tolist() == [[0.0, 1.0], [1.0, 1.0]]
    assert table.image_ids == ("textvqa/abc",)
    assert [table.manifest[key] for key in ("metric", "dataset", "split")] == [
        "textvqa_m4c",
        "textvqa",
        "val",
    ]
    assert table.questions[1] == f"What year?{SUFFIX}"
    assert table.manifest["unanswered"] == 0


def test_pope_whose_ids_are_others_needs_the_question_file(tmp_path: Path, pope: Path) -> None:
    def question(number: int, image: str, thing: str, category: str) -> dict[str, Any]:
        text = f"Is there a {thing} in the image?{SUFFIX}"
        return {"question_id": number, "image": image, "text": text, "category": category}

    asked = [
        question(0, "x.jpg", "dog", "popular"),
        question(1, "y.jpg", "dog", "random"),
        question(2, "x.jpg", "dog", "random"),
    ]
    answers = [
        answer(q["question_id"], q["text"], said) for q, said in zip(asked, ("No", "No", "Yes"), strict=True)
    ]
    files = ("--file", f"36={lines(tmp_path / 'answers.jsonl', *answers)}", "--references", f"pope:{pope}")
    code, text = run(tmp_path, *files)
    assert code == 2
    for words in ("question '0'", "is not in the data set", "--questions"):
        assert words in text
    questions = ("--questions", lines(tmp_path / "llava_pope_test.jsonl", *asked))
    code, text = run(tmp_path, *files, *questions)
    assert "'pope/random/1' at scale 36 comes twice" in text
    code, text = run(tmp_path, *files, *questions, "--category", "random")
    assert code == 0, text
    table = read_outcomes(tmp_path / "out")
    assert table.sample_ids == ("pope/random/3", "pope/random/1")
    assert table.scores.tolist() == [[1.0], [1.0]]
    assert f"1 samples of pope:{pope} have no answer in the files" in text
    code, text = run(tmp_path, *files, *questions, "--category", "odd")
    assert "has no category 'odd'; its categories are: popular, random" in text


def test_an_id_with_another_question_is_refused(pope: Path) -> None:
    known = References.of(read(f"pope:{pope}"))
    assert known.find("2", f"Is there a cat in the image?{SUFFIX}", "line 1").answers == ("no",)
    with pytest.raises(
        SourceError, match=r"line 9: question '2', 'Is there a dog.*is asked differently there"
    ):
        known.find("2", "Is there a dog in the image?", "line 9")
    with pytest.raises(SourceError, match=r"question '9'.*is not in the data set"):
        known.find("9", "Is there a dog in the image?", "line 9")


def test_an_image_with_the_same_question_twice_is_refused(tmp_path: Path) -> None:
    rows = [{"id": n, "image": "a.png", "question": "What?", "answers": ["x"]} for n in (1, 2)]
    known = References.of(read(lines(tmp_path / "mine.jsonl", *rows)))
    with pytest.raises(SourceError, match="fits 2 samples of the data set"):
        known.find("a", "What?", "line 1")
    assert known.find("1", "What?", "line 1").sample_id == "mine/1"


@pytest.mark.parametrize(
    "prompt",
    [
        "What brand?",
        f"what brand?{SUFFIX}",
        f"What brand?\nReference OCR token: A, B{SUFFIX}",
        f"Reference OCR token: A, B\nWhat brand?{SUFFIX}",
        "<image>\nWhat brand?",
        "OCR tokens: A, B. Question: What brand? Short answer:",
    ],
)
def test_the_question_is_found_in_every_form_of_llavas_prompts(prompt: str) -> None:
    assert question_of(prompt).lower() == "what brand?"
    assert same_question(f"What brand?{SUFFIX}", prompt)
    assert not same_question(f"What year?{SUFFIX}", prompt)


@pytest.mark.parametrize("empty", ["", "  \n", "<image>\n", "Reference OCR token: A, B"])
def test_a_prompt_without_a_question_fits_none(empty: str) -> None:
    assert not same_question(f"What brand?{SUFFIX}", empty)
    assert not same_question(empty, f"What brand?{SUFFIX}")
    assert not same_question(empty, "")


def test_what_is_missing_is_said(tmp_path: Path, pope: Path) -> None:
    path = lines(tmp_path / "answers.jsonl", answer(1, "Is there a dog in the image?", "Yes"))
    questions = lines(tmp_path / "q.jsonl", {"question_id": 5, "image": "x.jpg", "text": "?"})
    for arguments, message in (
        ((), "The metric is not known: give --metric, or --references."),
        (("--metric", "pope_llava"), "has no references: name the data set that has them"),
        (("--references", f"pope:{pope}", "--category", "random"), "give --questions"),
        (
            ("--references", f"pope:{pope}", "--questions", questions, "--file", f"9={path}"),
            "question '1' is not in the question file",
        ),
        (("--references", f"pope:{pope}"), "has no scale. Name the scale of the whole file: --file SCALE="),
    ):
        files = () if "--file" in arguments else ("--file", path)
        code, text = run(tmp_path, *files, *arguments)
        assert code == 2
        assert message in text
    assert not (tmp_path / "out").exists()
    twice = lines(tmp_path / "twice.jsonl", *[{"question_id": 5, "image": "x.jpg", "text": "?"}] * 2)
    with pytest.raises(SourceError, match="line 2: question '5' comes twice"):
        References.of([], twice)
