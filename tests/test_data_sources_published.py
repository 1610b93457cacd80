"""Readers of published formats with free answers. Every file here is made by hand, none is a data set's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data.scoring import METRICS
from data.sources import READERS, Skipped, SourceError
from data.sources.prompts import PROMPTS, asked
from tests.sources import SHORT, dump, picture, read


def test_vqav2_joins_questions_with_their_annotations(tmp_path: Path) -> None:
    home = tmp_path / "vqav2"
    questions = [
        {"question_id": 262148000, "image_id": 262148, "question": "Where is he looking?"},
        {"question_id": 262148001, "image_id": 262148, "question": "What is he on?"},
    ]
    answers = [
        {"answer": a, "answer_confidence": "yes", "answer_id": i} for i, a in enumerate(["down"] * 9 + ["up"])
    ]
    note = {"question_id": 262148000, "answer_type": "other", "question_type": "none of the above"}
    path = dump(home / "v2_OpenEnded_mscoco_val2014_questions.json", {"questions": questions})
    with pytest.raises(
        SourceError, match=r"v2_mscoco_val2014_annotations\.json is missing: it has the answers"
    ):
        read("vqav2:val", data_dir=tmp_path)
    dump(home / "v2_mscoco_val2014_annotations.json", {"annotations": [{**note, "answers": answers}]})
    picture(home / "val2014" / "COCO_val2014_000000262148.jpg")
    skipped = Skipped()
    (sample,) = read("vqav2:val", data_dir=tmp_path, skipped=skipped)
    assert skipped.counts == {"no annotation": 1}
    assert (sample.sample_id, sample.image_id, sample.split) == ("vqav2/262148000", "vqav2/262148", "val")
    assert sample.question == "Where is he looking?" + SHORT
    assert (len(sample.answers), sample.metric, sample.family) == (10, "vqa_official", "other")
    assert METRICS[sample.metric]("down", sample.answers) == 1.0
    assert sample.open_image().size == (7, 5)
    assert read(f"vqav2:{path}") == [sample]


def test_gqa_is_an_object_of_questions(tmp_path: Path) -> None:
    row = {
        "question": "Is it overcast?",
        "imageId": "n161313",
        "answer": "no",
        "fullAnswer": "No, it is clear.",
        "types": {"structural": "verify", "semantic": "attr", "detailed": "weatherVerify"},
    }
    path = dump(tmp_path / "gqa" / "testdev_balanced_questions.json", {"20968379": row})
    picture(tmp_path / "gqa" / "images" / "n161313.jpg")
    (sample,) = read("gqa:testdev", data_dir=tmp_path)
    assert (sample.sample_id, sample.split, sample.family, sample.kind) == (
        "gqa/20968379",
        "testdev",
        "verify",
        "attr",
    )
    assert METRICS[sample.metric]("No.", sample.answers) == 1.0
    assert sample.open_image().size == (7, 5)
    dump(path, [row])
    with pytest.raises(SourceError, match="is a list, not an object with an entry per question"):
        read(f"gqa:{path}")
    text = json.dumps(row)
    path.write_text(f'{{"7": {text}, "8": {text}, "7": {text}}}')
    with pytest.raises(SourceError, match=r"testdev_balanced_questions\.json has '7' twice in one object"):
        read(f"gqa:{path}")


@pytest.mark.parametrize("place", ["vizwiz/Annotations/val.json", "vizwiz/val.json"])
def test_vizwiz_asks_for_unanswerable(tmp_path: Path, place: str) -> None:
    answers = [{"answer": "unanswerable", "answer_confidence": "yes"}] * 10
    row = {"image": "VizWiz_val_00000000.jpg", "question": "What is this?", "answers": answers}
    path = dump(tmp_path / place, [{**row, "answer_type": "unanswerable", "answerable": 0}])
    picture(tmp_path / "vizwiz" / "val" / "VizWiz_val_00000000.jpg")
    (sample,) = read(f"vizwiz:{path}")
    assert sample.question == (
        "What is this?\nWhen the provided information is insufficient, respond with 'Unanswerable'." + SHORT
    )
    assert (sample.prompt, sample.metric, sample.family) == ("vizwiz", "vizwiz_lmms", "unanswerable")
    assert sample.open_image().size == (7, 5)
    dump(path, [{**row, "answers": []}])
    with pytest.raises(SourceError, match=r"entry 0: answers is \[\], not a list of objects"):
        read(f"vizwiz:{path}")


def test_every_prompt_has_the_question_and_users_braces_stay_text() -> None:
    for name in PROMPTS:
        assert "{x} {0}" in asked(name, "{x} {0}", ("{y}",), "{z}")


@pytest.mark.parametrize("name", sorted(set(READERS) - {"scalebench"}))
def test_a_reader_whose_files_are_missing_says_so(tmp_path: Path, name: str) -> None:
    for data_dir in (None, tmp_path):
        with pytest.raises(SourceError, match=r"missing|M3_DATA_DIR|cannot be read|neither|not a folder"):
            read(f"{name}:nowhere", data_dir=data_dir)
