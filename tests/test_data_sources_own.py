"""Readers of one's own files: Parquet, image folders, Hugging Face's format on disk, LLaVA's question files.

Every file here is made for these tests.
"""

from __future__ import annotations

import json
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.scoring import METRICS
from data.sources import Skipped, SourceError, load
from data.sources.skipped import DUPLICATE
from tests.sources import lines, picture, read

ROW = {"image": "a.png", "question": "What?", "answers": ["a", "b"]}


def bytes_of(tmp_path: Path, number: int = 0) -> bytes:
    picture(tmp_path / "made" / "made.png", number)
    return (tmp_path / "made" / "made.png").read_bytes()


def write(path: Path, rows: list[dict[str, Any]], **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, **options)
    return path


def test_parquet_with_paths_is_read_like_jsonl(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    path = write(tmp_path / "mine.parquet", [{**ROW, "id": 7, "group": "g"}, {**ROW, "id": 8, "group": None}])
    first, second = read(path)
    assert first == read(lines(tmp_path / "mine.jsonl", {**ROW, "id": 7, "group": "g"}))[0]
    assert (second.sample_id, second.family) == ("mine/8", "")
    assert first.open_image().size == (7, 5)


@pytest.mark.parametrize("struct", [True, False])
def test_parquet_with_pictures_inside_opens_each_row_its_own(tmp_path: Path, struct: bool) -> None:
    contents = [bytes_of(tmp_path, number) for number in range(5)]
    rows = [
        {**ROW, "image": {"bytes": content, "path": "x.png"} if struct else content} for content in contents
    ]
    path = write(tmp_path / "mine.parquet", rows, row_group_size=2)
    found = read(path)
    assert [s.sample_id for s in found] == [f"mine/#{n}" for n in range(1, 6)]
    assert len({s.image_id for s in found}) == 5
    assert len({s.open_image().tobytes() for s in found}) == 5
    again = pickle.loads(pickle.dumps(found[4]))
    assert again.open_image().tobytes() == found[4].open_image().tobytes()


def test_pictures_that_are_not_there_or_damaged_are_named(tmp_path: Path) -> None:
    picture(tmp_path / "b.png")
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    values = [
        {"bytes": None, "path": "b.png"},
        {"bytes": b"no picture", "path": None},
        {"bytes": None, "path": None},
    ]
    columns = {"image": pa.array(values, kind), "question": ["q"] * 3, "answers": ["a"] * 3}
    pq.write_table(pa.table(columns), tmp_path / "mine.parquet")
    beside, damaged, empty = read(tmp_path / "mine.parquet")
    assert beside.open_image().size == (7, 5)
    with pytest.raises(SourceError, match=r"Image in .*mine\.parquet, row 1 of group 0: "):
        damaged.open_image()
    with pytest.raises(SourceError, match="row 2 of group 0 is empty"):
        empty.open_image()


def test_a_folder_of_parquet_files_is_one_data_set(tmp_path: Path) -> None:
    for number in (0, 1):
        row = {**ROW, "image": bytes_of(tmp_path, number), "id": number}
        write(tmp_path / "set" / "data" / f"test-{number:05d}-of-00002.parquet", [row])
    first, second = read("parquet:set", data_dir=tmp_path)
    assert (first.sample_id, second.sample_id) == ("set/0", "set/1")
    assert first.open_image().tobytes() != second.open_image().tobytes()
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"has no \.parquet file in it"):
        read(f"parquet:{tmp_path / 'empty'}")


def test_pictures_in_equally_named_files_of_several_folders_are_kept_apart(tmp_path: Path) -> None:
    for number, split in enumerate(("a", "b")):
        row = {**ROW, "image": bytes_of(tmp_path, number), "image_id": "", "id": number}
        write(tmp_path / "set" / split / "0000.parquet", [row])
    first, second = read(f"parquet:{tmp_path / 'set'}")
    assert (first.image_id, second.image_id) == ("set/a/0000.parquet, row 1", "set/b/0000.parquet, row 1")
    assert first.open_image().tobytes() != second.open_image().tobytes()
    (alone,) = read(f"parquet:{tmp_path / 'set' / 'a' / '0000.parquet'}")
    assert alone.image_id == "0000/0000.parquet, row 1"


def test_parquet_files_that_are_wrong_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.parquet", [{"image": "a.png", "question": "q"}])
    with pytest.raises(SourceError, match="has no column 'answers'; its columns are: image, question"):
        read(path)
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(SourceError, match=r"mine\.parquet cannot be read"):
        read(path)
    with pytest.raises(SourceError, match=r"mine\.parquet, row 2 has no question"):
        read(write(path, [ROW, {**ROW, "question": None}]))


def test_a_large_parquet_file_is_streamed(tmp_path: Path) -> None:
    rows = [{**ROW, "id": i, "question": "x" * 200, "image": b"y" * 2000} for i in range(5000)]
    path = write(
        tmp_path / "mine.parquet", rows, row_group_size=500, compression="none", use_dictionary=False
    )
    size = path.stat().st_size
    del rows
    tracemalloc.start()
    before = pa.total_allocated_bytes()
    most = 0
    for count, _ in enumerate(load(str(path)), 1):
        if count % 500 == 0:
            most = max(most, pa.total_allocated_bytes() - before)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 5000
    assert size > 11_000_000
    assert most + peak < size / 2  # the pictures are not read, and a row group at a time


def save_to_disk(folder: Path, rows: list[dict[str, Any]], batch: int = 2) -> Path:
    """What `datasets.Dataset.save_to_disk` writes, as far as it is read."""
    folder.mkdir(parents=True)
    table = pa.Table.from_pylist(rows)
    path = str(folder / "data-00000-of-00001.arrow")
    with pa.OSFile(path, "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        for each in table.to_batches(max_chunksize=batch):
            stream.write_batch(each)
    state = {
        "_data_files": [{"filename": "data-00000-of-00001.arrow"}],
        "_fingerprint": "1",
        "_split": "test",
    }
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text("{}")
    return folder


def test_a_hugging_face_data_set_on_disk_is_read(tmp_path: Path) -> None:
    rows = [
        {**ROW, "image": {"bytes": bytes_of(tmp_path, n), "path": None}, "image_id": f"p{n % 4}", "id": n}
        for n in range(5)
    ]
    found = read(f"hf:{save_to_disk(tmp_path / 'mine', rows)}")
    assert [s.sample_id for s in found] == [f"mine/{n}" for n in range(5)]
    assert found[0].image_id == found[4].image_id == "mine/p0"
    assert len({s.open_image().tobytes() for s in found}) == 5
    assert pickle.loads(pickle.dumps(found[3])).open_image().tobytes() == found[3].open_image().tobytes()


def test_a_hugging_face_folder_that_cannot_be_read_says_what_to_do(tmp_path: Path) -> None:
    home = tmp_path / "several"
    save_to_disk(home / "test", [{**ROW, "answers": "a"}])
    (home / "dataset_dict.json").write_text('{"splits": ["test", "dev"]}')
    with pytest.raises(SourceError, match=rf"has several splits\. Name one: hf:{home}/test, hf:{home}/dev"):
        read(f"hf:{home}")
    assert len(read(f"hf:{home}/test")) == 1
    with pytest.raises(SourceError, match=r"state\.json is missing.*save_to_disk.*parquet:FOLDER"):
        read(f"hf:{tmp_path}")
    (home / "test" / "state.json").write_text("{}")
    with pytest.raises(SourceError, match="names no files under '_data_files'"):
        read(f"hf:{home}/test")
    state = {
        "_data_files": [{"filename": "data-00000-of-00001.arrow"}],
        "_indices_data_files": [{"filename": "i"}],
    }
    (home / "test" / "state.json").write_text(json.dumps(state))
    with pytest.raises(SourceError, match="call flatten_indices"):
        read(f"hf:{home}/test")
    (home / "test" / "state.json").write_text('{"_data_files": [{"filename": "gone.arrow"}]}')
    with pytest.raises(SourceError, match=r"gone\.arrow cannot be read"):
        read(f"hf:{home}/test")


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_an_image_folder_with_metadata_is_read(tmp_path: Path, kind: str) -> None:
    picture(tmp_path / "mine" / "sub" / "a.png")
    if kind == "jsonl":
        lines(
            tmp_path / "mine" / "metadata.jsonl", {"file_name": "sub/a.png", "question": "Q?", "answers": "x"}
        )
    else:
        (tmp_path / "mine" / "metadata.csv").write_text("file_name,question,answers\nsub/a.png,Q?,x\n")
    (sample,) = read("folder:mine", data_dir=tmp_path)
    assert (sample.question, sample.answers, sample.image_id) == ("Q?", ("x",), "mine/sub/a.png")
    assert sample.open_image().size == (7, 5)


def test_an_image_folder_of_classes_asks_what_is_shown(tmp_path: Path) -> None:
    for name in ("polar_bear/1.png", "polar_bear/2.PNG", "cat/3.png"):
        picture(tmp_path / "pets" / name)
    (tmp_path / "pets" / "cat" / "notes.txt").write_text("x")
    skipped = Skipped()
    cat, bear, _ = read(f"folder:{tmp_path / 'pets'}", skipped=skipped)
    assert skipped.counts == {"a file that is no picture": 1}
    assert (cat.answers, bear.answers, bear.family) == (("cat",), ("polar bear",), "polar_bear")
    assert bear.question.startswith("What is shown in the image?\nAnswer")
    assert METRICS[bear.metric]("Polar bear.", bear.answers) == 1.0
    (tmp_path / "flat").mkdir()
    with pytest.raises(SourceError, match=r"neither metadata\.jsonl nor metadata\.csv"):
        read(f"folder:{tmp_path / 'flat'}")


def test_a_folder_of_splits_is_not_taken_for_one_of_classes(tmp_path: Path) -> None:
    row = {"file_name": "a.png", "question": "Q?", "answers": "x"}
    for split in ("test", "dev"):
        picture(tmp_path / "mine" / split / "a.png")
    lines(tmp_path / "mine" / "test" / "metadata.jsonl", row)
    (tmp_path / "mine" / "dev" / "metadata.csv").write_text("file_name,question,answers\na.png,Q?,x\n")
    home = tmp_path / "mine"
    with pytest.raises(
        SourceError, match=rf"has several splits\. Name one: folder:{home}/dev, folder:{home}/test"
    ):
        read(f"folder:{home}")
    assert len(read(f"folder:{home}/test")) == len(read(f"folder:{home}/dev")) == 1


@pytest.mark.parametrize("folder", [".", "images", "val2014"])
def test_llavas_question_files_are_asked_as_they_stand(tmp_path: Path, folder: str) -> None:
    row = {"question_id": 1, "image": "c.jpg", "text": "Is it?\nAnswer briefly.", "category": "adversarial"}
    picture(tmp_path / folder / "c.jpg")
    path = lines(tmp_path / "llava_test.jsonl", {**row, "label": "yes", "metric": "pope_llava"})
    (sample,) = read(f"llava:{path}")
    assert (sample.question, sample.prompt) == ("Is it?\nAnswer briefly.", "as_written")
    assert (sample.sample_id, sample.answers, sample.family) == ("llava_test/1", ("yes",), "adversarial")
    assert sample.metric == "pope_llava"
    assert sample.open_image().size == (7, 5)
    with pytest.raises(
        SourceError, match="line 1 has no answers, answer, label: LLaVA's question files have no"
    ):
        read(f"llava:{lines(path, row)}")
    with pytest.raises(SourceError, match="line 1: Metric 'bleu' is not known"):
        read(f"llava:{lines(path, {**row, 'answer': 'yes', 'metric': 'bleu'})}")


@pytest.mark.parametrize("answer", ["B", "dog"])
def test_generic_rows_with_choices_are_asked_with_letters(tmp_path: Path, answer: str) -> None:
    row = {**ROW, "answers": [answer], "choices": ["cat", "dog"]}
    (sample,) = read(lines(tmp_path / "mine.jsonl", row))
    assert sample.question == (
        "What?\nA. cat\nB. dog\nAnswer with the option's letter from the given choices directly."
    )
    assert (sample.answers, sample.prompt) == (("B", "cat", "dog"), "option_letter")
    assert METRICS[sample.metric]("B", sample.answers) == 1.0
    table = tmp_path / "mine.csv"
    table.write_text(f'image,question,answers,choices\na.png,What?,{answer},"[""cat"", ""dog""]"\n')
    assert read(table) == [sample]


@pytest.mark.parametrize(
    ("answer", "choices", "letter"),
    [("B", ["A", "B"], "B"), ("A", ["B", "C"], "A"), ("C", ["B", "C"], "B")],
)
def test_choices_that_are_letters_themselves_are_read_where_one_alone_can_be_meant(
    tmp_path: Path, answer: str, choices: list[str], letter: str
) -> None:
    (sample,) = read(lines(tmp_path / "mine.jsonl", {**ROW, "answers": answer, "choices": choices}))
    assert sample.answers == (letter, *choices)


@pytest.mark.parametrize(("answer", "choices"), [("A", ["B", "A"]), ("cat", ["cat", "dog", "cat"])])
def test_an_answer_that_may_mean_two_choices_is_refused(
    tmp_path: Path, answer: str, choices: list[str]
) -> None:
    path = lines(tmp_path / "mine.jsonl", {**ROW, "answers": answer, "choices": choices})
    with pytest.raises(SourceError, match=r"line 1: answers is .* and it may mean one of them only"):
        read(path)


@pytest.mark.parametrize("answers", [["C"], ["a", "b"], ["horse"], ["b"]])
def test_answers_that_are_no_choice_are_refused(tmp_path: Path, answers: list[str]) -> None:
    path = lines(tmp_path / "mine.jsonl", {**ROW, "answers": answers, "choices": ["cat", "dog"]})
    with pytest.raises(SourceError, match=r"line 1: answers is .*with choices it is one letter up to B"):
        read(path)


def test_ids_that_come_twice_may_be_left_out_and_are_counted(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "mine.jsonl", {**ROW, "id": 1}, {**ROW, "id": 1, "question": "Who?"}, {**ROW, "id": 2}
    )
    with pytest.raises(
        SourceError, match=r"line 2: id 'mine/1' was already used by row 1.*--skip-duplicates"
    ):
        read(path)
    skipped = Skipped(duplicates=True)
    assert [s.question for s in read(path, skipped=skipped)] == ["What?", "What?"]
    assert skipped.counts == {DUPLICATE: 1}
    assert skipped.sentences() == [f"1 left out for an id that came before (the first: {path}, line 2)."]
