"""Readers of published multiple-choice formats, tried on examples made by hand."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.scoring import METRICS
from data.sources import Skipped, SourceError
from tests.sources import SHARED, SHORT, dump, lines, picture, png, read

LETTER = "\nAnswer with the option's letter from the given choices directly."


def test_scienceqa_counts_the_questions_without_an_image(tmp_path: Path) -> None:
    def problem(image: str | None, hint: str, split: str = "test", answer: Any = 1) -> dict[str, Any]:
        return {
            "question": "Which is larger?",
            "choices": ["ant", "cow"],
            "answer": answer,
            "hint": hint,
            "image": image,
            "subject": "natural science",
            "topic": "biology",
            "split": split,
        }

    home = tmp_path / "scienceqa"
    problems = {"4": problem("image.png", "Look."), "5": problem(None, ""), "6": problem("image.png", "")}
    path = dump(home / "problems.json", {**problems, "7": problem("image.png", "", "val")})
    with pytest.raises(SourceError, match=r"pid_splits\.json is missing"):
        read("scienceqa:test", data_dir=tmp_path)
    dump(home / "pid_splits.json", {"test": ["4", "5", "6"], "val": ["7"]})
    picture(home / "images" / "test" / "4" / "image.png")
    skipped = Skipped()
    first, second = read("scienceqa:test", data_dir=tmp_path, skipped=skipped)
    assert skipped.counts == {"no image": 1}
    assert skipped.sentences() == [f"1 left out for no image (the first: {path}, entry '5')."]
    assert first.question == f"Context: Look.\nWhich is larger?\nA. ant\nB. cow{LETTER}"
    assert second.question == f"Which is larger?\nA. ant\nB. cow{LETTER}"
    assert (first.prompt, second.prompt, first.answers) == ("scienceqa", "option_letter", ("B", "ant", "cow"))
    assert METRICS[first.metric]("B", first.answers) == 1.0
    assert first.open_image().size == (7, 5)
    assert len(read(f"scienceqa:{path}")) == 3
    with pytest.raises(SourceError, match="has no split 'tests'; its splits are: test, val"):
        read("scienceqa:tests", data_dir=tmp_path)
    for answer in (2, -1, True, "B"):
        dump(path, {"4": problem("image.png", "", answer=answer)})
        with pytest.raises(SourceError, match=r"entry '4': answer is .*, not a place among 2 choices"):
            read(f"scienceqa:{path}")


def test_ai2d_needs_pictures_with_letters_for_questions_about_letters(tmp_path: Path) -> None:
    def question(name: str, abc: bool) -> dict[str, Any]:
        texts = ["ears", "nose", "mouth", "face"]
        return {"abcLabel": abc, "answerTexts": texts, "correctAnswer": 3, "questionId": name}

    home = tmp_path / "ai2d"
    questions = {"What is A?": question("0.png-0", True), "What is shown?": question("0.png-1", False)}
    dump(home / "questions" / "0.png.json", {"imageName": "0.png", "questions": questions})
    dump(
        home / "questions" / "10.png.json",
        {"imageName": "10.png", "questions": {"Q?": question("10", False)}},
    )
    dump(home / "categories.json", {"0.png": "partsOfA"})
    picture(home / "images" / "0.png")
    skipped = Skipped()
    shown, other = read(f"ai2d:{home}", skipped=skipped)
    assert list(skipped.counts.values()) == [1]
    assert (shown.sample_id, shown.family, shown.kind) == ("ai2d/0.png-1", "partsOfA", "texts")
    assert shown.question == f"What is shown?\nA. ears\nB. nose\nC. mouth\nD. face{LETTER}"
    assert shown.answers == ("D", "ears", "nose", "mouth", "face")
    assert other.sample_id == "ai2d/10"
    picture(home / "abc_images" / "0.png", 1)
    with pytest.raises(
        SourceError, match=r"ai2d_test_ids\.csv is missing: it says which images are for test"
    ):
        read("ai2d:test", data_dir=tmp_path)
    (home / "ai2d_test_ids.csv").write_text("0\n")
    letters, shown = read("ai2d:test", data_dir=tmp_path)
    assert (letters.kind, letters.image_id, shown.image_id) == (
        "letters",
        "ai2d/abc_images/0.png",
        "ai2d/images/0.png",
    )
    assert letters.open_image().tobytes() != shown.open_image().tobytes()
    assert [s.sample_id for s in read("ai2d:train", data_dir=tmp_path)] == ["ai2d/10"]
    with pytest.raises(SourceError, match="neither a folder nor one of test, train"):
        read("ai2d:val", data_dir=tmp_path)
    with pytest.raises(SourceError, match="set M3_DATA_DIR to the one that has ai2d/questions"):
        read("ai2d:test")
    dump(home / "questions" / "0.png.json", {"imageName": "0.png"})
    with pytest.raises(SourceError, match=r"0\.png\.json has no questions; it has imageName"):
        read(f"ai2d:{home}")


def mmbench(
    path: Path, *rows: dict[str, str], columns: str = "index question hint A B C D answer category image"
) -> Path:
    names = columns.split()

    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if any(c in text for c in '"\t\n') else text

    text = "".join("\t".join(cell(row.get(name, "")) for name in names) + "\n" for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\ufeff" + "\t".join(names) + "\n" + text, encoding="utf-8")
    return path


def test_mmbench_has_its_pictures_in_the_rows(tmp_path: Path) -> None:
    row = {"question": "Which one?", "A": "a cat", "B": "a dog", "answer": "B", "category": "identity"}
    pictures = [base64.b64encode(png(tmp_path, number)).decode() for number in (1, 2)]
    path = mmbench(
        tmp_path / "mmbench" / "MMBench_DEV_EN.tsv",
        {**row, "index": "3", "image": pictures[0], "hint": 'Look\n"well".', "C": "wörd"},
        {**row, "index": "4", "image": pictures[1], "hint": "nan"},
        {**row, "index": "1000003", "image": "3", "A": "a dog", "B": "a cat", "answer": "A"},
    )
    first, second, turned = read("mmbench:DEV_EN", data_dir=tmp_path)
    assert first.question == (
        f'Look\n"well". Which one? There are several options:\nA. a cat\nB. a dog\nC. wörd\n{LETTER}'
    )
    assert second.question == f"Which one? There are several options:\nA. a cat\nB. a dog\n{LETTER}"
    assert (first.prompt, second.prompt) == ("mmbench_hint", "mmbench")
    assert (first.answers, first.family) == (("B", "a cat", "a dog", "wörd"), "identity")
    assert first.image_id == turned.image_id != second.image_id
    assert first.open_image().tobytes() == turned.open_image().tobytes() != second.open_image().tobytes()
    assert METRICS[turned.metric]("A.", turned.answers) == 1.0
    path.write_text(path.read_text(encoding="utf-8").replace(pictures[1], "!" * 40), encoding="utf-8")
    with pytest.raises(SourceError, match="is not base64, or the file has changed"):
        read(f"mmbench:{path}")[1].open_image()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"answer": "C"}, r"row 1: answer is 'C'; there are 2 choices: AB"),
        ({"answer": ""}, r"row 1: answer is ''"),
        ({"index": "x"}, r"row 1: index is 'x', not a number"),
        ({"image": "7"}, r"row 1: image is that of row 7, which is not above it"),
        ({"A": ""}, r"row 1: a choice is empty between others"),
    ],
)
def test_rows_of_mmbench_that_are_wrong_are_named(tmp_path: Path, row: dict[str, str], message: str) -> None:
    good = {"index": "1", "question": "q", "A": "x", "B": "y", "answer": "A", "image": "a" * 40}
    with pytest.raises(SourceError, match=message):
        read(f"mmbench:{mmbench(tmp_path / 'm.tsv', {**good, **row})}")
    with pytest.raises(SourceError, match="has no column 'answer'; its columns are: index, question"):
        read(f"mmbench:{mmbench(tmp_path / 'm.tsv', good, columns='index question A B image')}")
    (tmp_path / "m.tsv").write_text("index\tquestion\tanswer\tA\tB\timage\n1\tq\n")
    with pytest.raises(SourceError, match="row 1 does not have 6 fields"):
        read(f"mmbench:{tmp_path / 'm.tsv'}")


def test_a_cell_of_a_megabyte_is_read(tmp_path: Path) -> None:
    row = {"index": "1", "question": "q", "A": "x", "B": "y", "answer": "A", "image": "a" * 2**20}
    assert len(read(f"mmbench:{mmbench(tmp_path / 'm.tsv', row)}")) == 1


def test_mmmu_reads_questions_with_one_picture_and_letters(tmp_path: Path) -> None:
    def row(number: int, question: str, options: str, **more: Any) -> dict[str, Any]:
        return {
            "id": f"validation_Art_Theory_{number}",
            "question": question,
            "options": options,
            "answer": "B",
            "question_type": "multiple-choice",
            "topic_difficulty": "Easy",
            "image_1": {"bytes": png(tmp_path, 1), "path": "1.png"},
            "image_2": {"bytes": png(tmp_path, 2), "path": "2.png"},
            **more,
        }

    rows = [
        row(1, "<image 1> Which?", "['one', \"it's two\"]"),
        row(2, "<image 2> Which?", "['one', 'two']"),
        row(3, "Which?", "['<image 1>', '<image 2>']"),
        row(4, "Why <image 1>?", "[]", question_type="open"),
    ]
    path = tmp_path / "mmmu" / "Art_Theory" / "validation-00000-of-00001.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=1)
    skipped = Skipped()
    first, second = read("mmmu:validation", data_dir=tmp_path, skipped=skipped)
    assert skipped.counts == {"several images": 1, "an open question": 1}
    assert first.question == f"<image 1> Which?\nA. one\nB. it's two\n{LETTER}"
    assert (first.answers, first.family, first.split) == (
        ("B", "one", "it's two"),
        "Art_Theory",
        "validation",
    )
    assert first.open_image().tobytes() != second.open_image().tobytes()
    assert len(read(f"mmmu:{path}")) == len(read(f"mmmu:{tmp_path / 'mmmu'}")) == 2
    for options, message in (
        ("[open", "options is '\\[open', not a list"),
        ("['a']", "answer is 'B'; there are 1"),
    ):
        pq.write_table(pa.Table.from_pylist([row(1, "q", options)]), path)
        with pytest.raises(SourceError, match=message):
            read(f"mmmu:{path}")
    with pytest.raises(SourceError, match=r"SUBJECT/test-\*\.parquet is missing"):
        read("mmmu:test", data_dir=tmp_path)
    with pytest.raises(SourceError, match="neither a file nor a folder"):
        read("mmmu:test")


def test_seedbench_leaves_videos_out(tmp_path: Path) -> None:
    row = {
        "question_id": "101669",
        "question": "How many towels?",
        "choice_a": "One",
        "choice_b": "Two",
        "choice_c": "Three",
        "choice_d": "Four",
        "answer": "A",
        "data_id": "1454426_2591111986",
        "data_type": "image",
        "question_type_id": 5,
    }
    content = {"questions": [row, {**row, "data_type": "video"}], "question_type": {"Instances Counting": 5}}
    content["questions"][1]["question_id"] = "7"  # type: ignore[index]
    path = dump(tmp_path / "seedbench" / "SEED-Bench.json", content)
    picture(tmp_path / "seedbench" / "SEED-Bench-image" / "made.png")
    (path.parent / "SEED-Bench-image" / "made.png").rename(path.parent / "SEED-Bench-image" / row["data_id"])  # type: ignore[operator]
    skipped = Skipped()
    (sample,) = read("seedbench:image", data_dir=tmp_path, skipped=skipped)
    assert skipped.counts == {"a video instead of an image": 1}
    assert sample.question == f"How many towels?\nA. One\nB. Two\nC. Three\nD. Four{LETTER}"
    assert (sample.family, sample.answers[0], sample.metric) == ("Instances Counting", "A", "seedbench_lmms")
    assert sample.open_image().size == (7, 5)
    with pytest.raises(SourceError, match="neither a file nor 'image'"):
        read("seedbench:video", data_dir=tmp_path)


def test_mathvision_asks_for_the_answer_alone(tmp_path: Path) -> None:
    row = {"id": "4", "question": "How many digits?\n<image1>", "answer": "6", "image": "images/4.jpg"}
    more = {"level": 1, "subject": "counting", "solution": None}
    path = lines(
        tmp_path / "mathvision" / "data" / "testmini.jsonl",
        {**row, **more, "options": []},
        {**row, **more, "id": "5", "options": ["red", "blue"], "answer": "B"},
    )
    picture(tmp_path / "mathvision" / "images" / "4.jpg")
    number, letter = read("mathvision:testmini", data_dir=tmp_path)
    assert number.question == "How many digits?" + SHORT
    assert letter.question == "How many digits?\nA. red\nB. blue" + LETTER
    assert (number.answers, letter.answers, letter.family) == (("6",), ("B", "red", "blue"), "counting")
    assert METRICS[number.metric]("6.", number.answers) == METRICS[letter.metric]("B", letter.answers) == 1.0
    assert number.open_image().size == (7, 5)
    lines(path, {**row, **more, "options": ["red", "blue"], "answer": "C"})
    with pytest.raises(SourceError, match="line 1: answer is 'C'; there are 2 choices: AB"):
        read(f"mathvision:{path}")


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the sample files of the official data sets")
def test_the_official_sample_of_mathvision_is_read() -> None:
    found = read(f"mathvision:{SHARED}/mathv/data/testmini.jsonl")
    assert len(found) == 200
    assert found[0].open_image().mode == "RGB"
    assert not any("<image" in sample.question for sample in found)
    assert all(METRICS[sample.metric](sample.answers[0], sample.answers) == 1.0 for sample in found)
