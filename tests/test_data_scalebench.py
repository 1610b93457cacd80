from __future__ import annotations

import pickle
import re
from collections import Counter, defaultdict
from functools import cache
from itertools import islice

import numpy as np
import pytest

from data.scalebench import LABELS, SPLIT_IMAGES, Picture, corpus, picture, samples
from data.scalebench.canvas import FRAME, GRID, Canvas
from data.scalebench.families import FAMILIES
from data.scalebench.vocabulary import CHARACTERS, COLOURS, NUMBERS, PLACES, SHAPES, WORDS, word_class
from data.scoring import METRICS
from m3_backbone.images import content_hash

VOCABULARY = {*WORDS, *COLOURS, *SHAPES, *PLACES, *map(str, NUMBERS), "yes", "no", "bar", "line"}
ONE_WORDING = {
    "tables/marked-row",
    "tables/marked-column",
    "tables/columns",
    "tables/row-name",
    "charts/colour-place",
}
FEW = 60
TRAINED_ON = 20_000  # pictures of backbone-train that are compared with the other splits; a run draws fewer


@cache
def drawn(split: str) -> tuple[Picture, ...]:
    return tuple(picture(split, index) for index in range(FEW))


def skeleton(question: str) -> str:
    """The phrasing without the words that depend on the picture."""
    names = {*WORDS, *COLOURS, *SHAPES, "first", "last", "cash", "card"}
    return " ".join(
        "_" if w in names or w.isdigit() else w for w in re.findall(r"[a-z0-9]+", question.lower())
    )


def test_a_picture_is_a_pure_function_of_split_and_index() -> None:
    for index in (0, 7, 41):
        one, other = picture("dev", index), picture("dev", index)
        assert one.image.tobytes() == other.image.tobytes()
        assert (one.image_id, one.family) == (other.image_id, other.family)
        assert (one.questions, one.descriptions) == (other.questions, other.descriptions)
        for head in LABELS:
            np.testing.assert_array_equal(one.labels[head], other.labels[head])


def test_every_family_is_drawn_and_frames_have_several_sizes() -> None:
    assert {one.family for one in drawn("dev")} == set(FAMILIES)
    sizes = Counter(one.image.size for one in drawn("dev"))
    assert len(sizes) > 2
    assert sizes[FRAME, FRAME] > FEW / 2
    assert {one.image.mode for one in drawn("dev")} == {"RGB"}


def test_answers_come_from_the_closed_vocabulary() -> None:
    for split in ("dev", "backbone-train"):
        for one in drawn(split):
            for question in one.questions:
                assert question.answer in VOCABULARY, question
                assert question.text.endswith(("?", "."))
                assert all(value >= 0 for value in question.difficulty.values()), question


def test_questions_of_one_picture_differ_or_agree_on_the_answer() -> None:
    for one in drawn("backbone-train"):
        answers: dict[str, str] = {}
        for question in one.questions:
            assert answers.setdefault(question.text, question.answer) == question.answer


def test_held_out_splits_ask_four_questions_and_training_asks_all() -> None:
    for split in SPLIT_IMAGES:
        count = len(picture(split, 3).questions)
        assert count >= 4 if split == "backbone-train" else count == 4
    assert any(len(one.questions) > 6 for one in drawn("backbone-train"))


def test_dense_labels_are_classes_of_their_heads_on_every_patch() -> None:
    for one in drawn("dev"):
        assert set(one.labels) == set(LABELS)
        for head, values in one.labels.items():
            assert values.shape == (GRID, GRID)
            assert values.dtype == np.int16
            assert values.max() < LABELS[head]
            assert values.min() >= (-1 if head == "background" else 0)
        padded = one.image.width != one.image.height
        assert (one.labels["background"] == -1).any() == padded


def test_dense_labels_name_what_lies_under_the_patch() -> None:
    canvas = Canvas(336, 336, "white", "LiberationSans-Bold.ttf")
    canvas.shape("circle", "red", 70, 70, 40)
    box = canvas.text("bread", 140, 240, 40)
    labels = canvas.labels()
    assert labels["colour"][5, 5] == 1 + list(COLOURS).index("red")
    assert labels["kind"][5, 5] == 1
    assert labels["kind"][20, 2] == labels["colour"][20, 2] == 0
    row, column = int((box[1] + box[3]) / 2) // 14, int((box[0] + box[2]) / 2) // 14
    assert labels["word"][row, column] == word_class("bread")
    assert labels["char"][row, column] - 1 in {CHARACTERS.index(c) for c in "bread"}
    assert labels["start"].sum() >= 1
    assert (labels["background"] == list(COLOURS).index("white")).all()


def test_descriptions_tell_the_whole_picture_then_its_cells_then_its_rows() -> None:
    for one in drawn("backbone-train")[:20]:
        first, *parts = one.descriptions
        assert first.prompt == "Describe the picture."
        assert any(part.prompt == "List the 9 cells." for part in parts)
        for part in parts:
            listed = re.fullmatch(r"List the (9|36) (cells|colours)\.", part.prompt)
            if listed:
                assert len(part.text.split()) == int(listed[1])
            else:
                assert re.fullmatch(r"Row [1-6] of 6\.", part.prompt)


def test_most_kinds_are_asked_in_several_phrasings() -> None:
    phrasings: defaultdict[str, set[str]] = defaultdict(set)
    for index in range(250):
        one = picture("backbone-train", index)
        for question in one.questions:
            phrasings[f"{one.family}/{question.kind}"].add(skeleton(question.text))
    assert len(phrasings) > 35
    single = {kind for kind, texts in phrasings.items() if len(texts) == 1}
    assert single <= ONE_WORDING
    assert len(single) < len(phrasings) / 8


def test_splits_share_no_picture() -> None:
    owner: dict[str, str] = {}
    for split in SPLIT_IMAGES:
        for one in drawn(split):
            assert owner.setdefault(content_hash(one.image), split) == split


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_splits_share_no_picture_in_their_whole_length() -> None:
    owner: dict[str, str] = {}
    for split, count in SPLIT_IMAGES.items():
        for index in range(min(count, TRAINED_ON)):
            name = owner.setdefault(content_hash(picture(split, index).image), split)
            assert name == split, f"{split} {index} is also in {name}"


def test_an_unknown_split_or_index_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no split 'tests'.*backbone-val.*certify"):
        picture("tests", 0)
    with pytest.raises(ValueError, match="dev holds pictures 0 to 1249, not 1250"):
        picture("dev", 1250)
    with pytest.raises(ValueError, match="not -1"):
        picture("dev", -1)
    with pytest.raises(ValueError, match="no split 'nope'"):
        list(samples("nope", 1))


def test_samples_stop_at_the_limit_and_keep_an_image_together() -> None:
    assert list(samples("dev", 0)) == []
    made = list(samples("dev", 10))
    assert len(made) == 10
    assert [s.image_id for s in made] == [f"dev-{i:06d}" for i in (0, 0, 0, 0, 1, 1, 1, 1, 2, 2)]
    assert len({s.sample_id for s in made}) == 10
    assert made == list(islice(samples("dev"), 10))


def test_a_sample_says_what_it_is_and_scores_its_own_answer_as_right() -> None:
    (sample, *_) = samples("tune", 1)
    assert (sample.dataset, sample.split, sample.metric) == ("scalebench", "tune", "exact_match")
    assert sample.family in FAMILIES
    assert METRICS[sample.metric](sample.answers[0], sample.answers) == 1.0
    assert METRICS[sample.metric]("nothing of the kind", sample.answers) == 0.0


def test_a_sample_opens_its_picture_in_another_process_too() -> None:
    (sample, *_) = samples("tune", 1)
    opener = pickle.loads(pickle.dumps(sample.open_image))
    assert opener().tobytes() == sample.open_image().tobytes() == picture("tune", 0).image.tobytes()


def test_the_corpus_covers_the_closed_world() -> None:
    words = set(" ".join(islice(corpus(), 60)).split())
    assert {*WORDS, *COLOURS, *SHAPES, *map(str, NUMBERS), "yes", "no"} <= words
