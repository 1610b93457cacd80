"""Readers of official formats, on small made files; on real samples where they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from data.sources import SourceError
from tests.sources import SHARED, lines, picture, read


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


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the sample files of the official data sets")
@pytest.mark.parametrize(
    ("spec", "n", "images"),
    [
        ("pope:{}/pope/coco_pope_random.json", 2910, 500),
        ("llava:{}/pope/coco_pope_random.json", 2910, 500),
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


def test_json_nested_too_deeply_is_named(tmp_path: Path) -> None:
    path = tmp_path / "val_v1.0.json"
    path.write_text("[" * 100_000)
    with pytest.raises(SourceError, match=r"val_v1\.0\.json is not a data set: it is nested too deeply"):
        read(f"docvqa:{path}")
