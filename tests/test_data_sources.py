from __future__ import annotations

import json
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from data.sources import SourceError, load
from data.sources.files import ImageFile
from data.splits import SplitError, assign
from tests.sources import lines, picture, read

ROW = {"image": "a.png", "question": "What?", "answers": ["a", "b"]}


def test_generic_jsonl_has_questions_as_they_stand_and_paths_beside_the_file(tmp_path: Path) -> None:
    picture(tmp_path / "pics" / "a.png")
    path = lines(
        tmp_path / "mine.jsonl",
        {"image": "pics/a.png", "question": " What? ", "answers": ["a", "b"], "id": 7, "group": "g"},
        {"image": "pics/a.png", "question": "How many?", "answers": 3, "metric": "exact_match"},
    )
    first, second = read(path)
    assert (first.sample_id, first.image_id, first.question) == ("mine/7", "mine/pics/a.png", " What? ")
    assert (first.answers, first.metric, first.family) == (("a", "b"), "answer_match", "g")
    assert (second.sample_id, second.answers, second.metric) == ("mine/#2", ("3",), "exact_match")
    assert first.open_image().size == (7, 5)
    assert first.image_id == second.image_id
    assert read(f"jsonl:{path}")[0].sample_id == "mine/7"


def test_generic_csv_takes_a_text_or_a_json_list_of_answers(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(
        'image,question,answers,id,group\na.png,"Why, then?",yes,1,\nb.png,Who?,"[""a"", ""b""]",,z\n'
    )
    first, second = read(path)
    assert (first.question, first.answers, first.sample_id) == ("Why, then?", ("yes",), "mine/1")
    assert (second.answers, second.sample_id, second.family) == (("a", "b"), "mine/#2", "z")


def test_files_with_a_byte_order_mark_and_crlf_are_read(tmp_path: Path) -> None:
    path = lines(tmp_path / "mine.jsonl", ROW, ROW, end="\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"\r\n")
    assert len(read(path)) == 2
    table = tmp_path / "mine.csv"
    table.write_bytes("\ufeffimage,question,answers\r\na.png,Wö?,ja\r\n".encode())
    assert read(table)[0].question == "Wö?"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([ROW, {"image": "a.png", "answers": ["a"]}], r"line 2 has no question; it has image, answers"),
        ([{**ROW, "answers": []}], "line 1: answers is empty"),
        ([{**ROW, "answers": [["a"]]}], r"line 1: answers is \['a'\], not a text"),
        ([{**ROW, "question": " "}], "line 1: the question is empty"),
        ([{**ROW, "image": True}], "line 1: image is True, not a text"),
        ([{**ROW, "metric": "bleu"}], "line 1: Metric 'bleu' is not known"),
        ([{**ROW, "id": "x"}, {**ROW, "id": "x"}], "line 2: id 'mine/x' was already used by row 1"),
        ([[1]], r"line 1 is \[1\], not an object"),
    ],
)
def test_wrong_rows_name_file_and_line(tmp_path: Path, rows: list[Any], message: str) -> None:
    path = lines(tmp_path / "mine.jsonl", *rows)
    with pytest.raises(SourceError, match=rf"mine\.jsonl, {message}"):
        read(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,question\na.png,Who?\n", "no column 'answers'; its columns are: image, question"),
        ("", "no column 'image'; its columns are: none"),
        ("image,question,answers\na.png,Who?\n", "line 2 does not have 3 fields"),
        ("image,question,answers\na.png,Who?,b,c\n", "line 2 does not have 3 fields"),
        ("image,question,answers\na.png,Who?,[b\n", "line 2: answers starts like a JSON list but is none"),
        ('image,question,answers\na.png,"Who"?,b\n', "line 2: .*expected after"),
    ],
)
def test_wrong_csv_files_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(SourceError, match=rf"mine\.csv.*{message}"):
        read(path)


def test_a_file_that_is_no_json_or_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"image": \n')
    with pytest.raises(SourceError, match=r"mine\.jsonl, line 1 is not JSON"):
        read(path)
    with pytest.raises(SourceError, match=r"none\.jsonl cannot be read: No such file"):
        read(tmp_path / "none.jsonl")


def test_a_data_set_without_samples_is_an_error_that_names_it_and_what_was_left_out(tmp_path: Path) -> None:
    path = lines(tmp_path / "mine.jsonl")
    with pytest.raises(SourceError, match=r"mine\.jsonl has no samples\."):
        read(path)
    (tmp_path / "pets" / "cats").mkdir(parents=True)
    (tmp_path / "pets" / "cats" / "notes.txt").write_text("x")
    with pytest.raises(SourceError, match=r"pets has no samples\. 1 left out for a file that is no picture"):
        read(f"folder:{tmp_path / 'pets'}")


def test_a_split_without_images_says_where_they_all_went(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    row = {"image": "a.png", "question": "What is it?", "answers": ["x"]}
    path = lines(tmp_path / "mine.jsonl", row, {**row, "question": "What else?"})
    (home,) = {sample.split for sample in assign(read(path))}
    assert len(read(f"{path}@{home}")) == 2
    other = "tune" if home != "tune" else "dev"
    with pytest.raises(SourceError, match=rf"all 2 questions are of other splits \({home} 2\)\. More images"):
        read(f"{path}@{other}")


def test_images_that_are_missing_or_damaged_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"a\.png cannot be read: No such file"):
        ImageFile(tmp_path / "a.png")()
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(SourceError, match=r"Image .*a\.png: "):
        ImageFile(tmp_path / "a.png")()


def test_samples_can_be_sent_to_another_process(tmp_path: Path) -> None:
    path = lines(tmp_path / "mine.jsonl", ROW)
    assert pickle.loads(pickle.dumps(read(path))) == read(path)


@pytest.mark.parametrize("spec", ["nothing", "jsonl:", "scalebench", "coco:val", "a.txt", ""])
def test_an_unknown_data_set_names_the_known_ones(spec: str) -> None:
    with pytest.raises(SourceError, match=r"is not known\. Give NAME:SPLIT.*scalebench, jsonl, csv, pope"):
        load(spec)


def test_the_limit_cuts_the_stream(tmp_path: Path) -> None:
    path = lines(tmp_path / "mine.jsonl", *[ROW] * 5, {"broken": 1})
    assert len(read(path, limit=5)) == 5
    with pytest.raises(SourceError, match="limit must be at least 1, got 0"):
        load(str(path), limit=0)


def test_a_split_by_content_is_chosen_with_an_at_sign(tmp_path: Path) -> None:
    rows = []
    for i in range(40):
        picture(tmp_path / f"{i}.png", i)
        rows.append({**ROW, "image": f"{i}.png"})
    path = lines(tmp_path / "mine.jsonl", *rows)
    parts = {name: read(f"{path}@{name}") for name in ("router-train", "dev", "tune", "certify", "test")}
    assert sum(map(len, parts.values())) == 40
    assert all(sample.split == name for name, part in parts.items() for sample in part)
    with pytest.raises(SplitError, match="'val' does not exist"):
        read(f"{path}@val")


def test_an_at_sign_in_a_folder_is_a_part_of_the_path(tmp_path: Path) -> None:
    assert len(read(lines(tmp_path / "me@home" / "mine.jsonl", ROW))) == 1


def test_rows_are_streamed(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    with path.open("w") as file:
        file.writelines(json.dumps({**ROW, "id": i, "question": "x" * 400}) + "\n" for i in range(20_000))
    tracemalloc.start()
    assert sum(1 for _ in load(str(path))) == 20_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20  # the file has 9 MB; what grows is the set of ids


def test_scalebench_is_read_by_split() -> None:
    with pytest.raises(SplitError, match="'val' does not exist"):
        read("scalebench:val")


@pytest.mark.parametrize("name", ["mine.jsonl", "mine.csv"])
def test_a_file_that_is_not_utf_8_is_named(tmp_path: Path, name: str) -> None:
    text = {"mine.jsonl": json.dumps(ROW), "mine.csv": "image,question,answers\na.png,W\xf6?,ja\n"}[name]
    (tmp_path / name).write_bytes(text.encode("latin-1") + b"\xe4\n")
    with pytest.raises(SourceError, match=rf"{name} is not UTF-8 text .*Save it as UTF-8"):
        read(tmp_path / name)
    (tmp_path / name).write_bytes(text.encode("utf-16"))
    with pytest.raises(SourceError, match=rf"{name} is not UTF-8 text"):
        read(tmp_path / name)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"image": "a.png", "question": "\\ud800?", "answers": "a"}', "question holds half a character"),
        ('{"image": "a.png", "question": "q", "answers": ["\\udc00"]}', "answers holds half a character"),
        ('{"image": "a.png", "question": "q", "answers": NaN}', "answers is nan, not a text"),
        ('{"image": "a.png", "question": "q", "answers": [Infinity]}', "answers is inf, not a text"),
        ('{"image": " ", "question": "q", "answers": "a"}', "image is empty"),
        ("[" * 100_000, "is not a row: it is nested too deeply"),
    ],
)
def test_rows_that_could_not_be_labelled_are_refused_when_they_are_read(
    tmp_path: Path, line: str, message: str
) -> None:
    (tmp_path / "mine.jsonl").write_text(line)
    with pytest.raises(SourceError, match=f"line 1:? {message}"):
        read(tmp_path / "mine.jsonl")


def test_a_csv_header_that_is_wrong_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("image,question,answers,image\na,b,c,d\n")
    with pytest.raises(SourceError, match=r"mine\.csv has a column twice"):
        read(path)
    path.write_text('"image" x,question,answers\n')
    with pytest.raises(SourceError, match=r"mine\.csv, line 1: "):
        read(path)
