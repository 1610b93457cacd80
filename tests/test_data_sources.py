from __future__ import annotations

import json
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data.records import Sample
from data.sources import SourceError, load
from data.sources.files import ImageFile
from data.splits import SplitError

SHARED = Path(__file__).parents[2] / "shared" / "samples"  # real files, where they are


def picture(path: Path, number: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def lines(path: Path, *rows: Any, end: str = "\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(json.dumps(row) + end for row in rows).encode())
    return path


def read(spec: str | Path, **options: Any) -> list[Sample]:
    return list(load(str(spec), **options))


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
    assert (second.answers, second.sample_id, second.family) == (
        ("a", "b"),
        "mine/1",
        "z",
    ) or second.sample_id


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
        ([{**ROW, "metric": "bleu"}], "line 1: metric 'bleu' is not known"),
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


def test_pope_reads_the_official_files(tmp_path: Path) -> None:
    rows = [
        {"question_id": 1, "image": "c.jpg", "text": "Is there a dog in the image?", "label": "yes"},
        {"question_id": 2, "image": "c.jpg", "text": "Is there a cat in the image?", "label": "no"},
    ]
    path = lines(tmp_path / "pope" / "coco_pope_random.json", *rows)
    picture(tmp_path / "pope" / "val2014" / "c.jpg")
    for spec in ("pope:random", f"pope:{path}"):
        first, second = read(spec, data_dir=tmp_path)
        assert first.question.startswith("Is there a dog in the image?\nAnswer the question using")
        assert (first.answers, second.answers, first.metric) == (("yes",), ("no",), "pope_llava")
        assert (first.sample_id, first.family) == ("pope/random/1", "random")
        assert first.image_id == second.image_id
        assert first.open_image().size == (7, 5)
    lines(path, {**rows[0], "label": "maybe"})
    with pytest.raises(SourceError, match="label is 'maybe'"):
        read(f"pope:{path}")


def test_chartqa_reads_both_parts_of_a_split(tmp_path: Path) -> None:
    folder = tmp_path / "chartqa" / "ChartQA Dataset" / "test"
    picture(folder / "png" / "1.png")
    for part in ("human", "augmented"):
        folder.joinpath(f"test_{part}.json").write_text(
            json.dumps([{"imgname": "1.png", "query": f"{part}?", "label": "14"}])
        )
    human, augmented = read("chartqa:test", data_dir=tmp_path)
    assert human.question == "human?\nAnswer the question with a single word."
    assert (human.family, augmented.family, human.split) == ("human", "augmented", "test")
    assert (human.answers, human.metric) == (("14",), "chartqa_relaxed")
    assert human.sample_id != augmented.sample_id
    assert human.open_image().size == (7, 5)
    assert len(read(f"chartqa:{folder / 'test_human.json'}")) == 1


def test_textvqa_and_docvqa_read_the_official_files(tmp_path: Path) -> None:
    text = tmp_path / "textvqa" / "TextVQA_0.5.1_val.json"
    picture(tmp_path / "textvqa" / "train_images" / "abc.jpg")
    row: dict[str, Any] = {
        "question_id": 5,
        "question": "what brand?",
        "image_id": "abc",
        "answers": ["dakota"] * 10,
        "image_classes": ["Camera"],
    }
    text.write_text(json.dumps({"data": [row]}))
    (sample,) = read("textvqa:val", data_dir=tmp_path)
    assert (sample.sample_id, sample.family, sample.split) == ("textvqa/5", "Camera", "val")
    assert (len(sample.answers), sample.metric) == (10, "textvqa_m4c")
    assert sample.open_image().size == (7, 5)
    documents = tmp_path / "docvqa" / "val_v1.0.json"
    picture(tmp_path / "docvqa" / "documents" / "p.png")
    row = {"questionId": 9, "question": "page?", "image": "documents/p.png", "answers": ["2", "page 2"]}
    documents.write_text(json.dumps({"data": [row]}))
    (sample,) = read("docvqa:val", data_dir=tmp_path)
    assert (sample.sample_id, sample.answers, sample.metric) == ("docvqa/9", ("2", "page 2"), "anls_lmms")
    assert (sample.split, sample.family) == ("val", "")
    assert sample.open_image().size == (7, 5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("{}", "holds no list under 'data'"),
        ('{"data": [1]}', "entry 0 is 1, not an object"),
    ],
)
def test_wrong_json_files_are_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "val_v1.0.json"
    path.write_text(content)
    with pytest.raises(SourceError, match=message):
        read(f"docvqa:{path}")


def test_a_missing_data_set_says_what_is_expected_where(tmp_path: Path) -> None:
    with pytest.raises(
        SourceError, match=r"set M3_DATA_DIR to the folder that has pope/coco_pope_random\.json"
    ):
        read("pope:random")
    with pytest.raises(
        SourceError, match=r"ChartQA Dataset/val/val_human\.json is missing\. It comes from github"
    ):
        read("chartqa:val", data_dir=tmp_path)


def test_scalebench_is_read_by_split() -> None:
    with pytest.raises(SplitError, match="'val' does not exist"):
        read("scalebench:val")


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the sample files of the official data sets")
@pytest.mark.parametrize(
    ("spec", "n", "images"),
    [
        ("pope:{}/pope/coco_pope_random.json", 2910, 500),
        ("chartqa:test", 200, 193),
        ("docvqa:{}/docvqa/val_v1.0.json", 12, 3),
    ],
)
def test_the_official_samples_are_read(spec: str, n: int, images: int) -> None:
    found = read(spec.format(SHARED), data_dir=SHARED)
    assert len(found) == n
    assert len({sample.image_id for sample in found}) == images
    if "pope" not in spec:
        assert found[0].open_image().mode == "RGB"
