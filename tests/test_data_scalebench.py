"""The splits of ScaleBench: sizes, seeds, replicates, shifted sets, samples."""

from __future__ import annotations

import pickle
import random
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import islice
from multiprocessing import get_context

import numpy as np
import pytest

from data.scalebench import LABELS, NOVELTY_SPLITS, PLANS, SPLIT_IMAGES, Picture, corpus, picture, samples
from data.scalebench.families import FAMILIES, HELD_OUT
from data.scalebench.labels import FRAME
from data.scalebench.plans import BACKBONE_EDITION, ROUTED
from data.scalebench.style import (
    FONTS,
    JITTER,
    NEUTRAL,
    SIZES,
    UNSEEN_FONTS,
    UNSEEN_SHADES,
    UNSEEN_SIZES,
    Style,
)
from data.scalebench.vocabulary import ANSWERS, COLOURS, NUMBERS, SHAPES, WORDS
from data.scoring import METRICS
from data.splits import SplitError
from m3_backbone.images import content_hash

FEW = 40
TRAINED_ON = 20_000  # pictures of backbone-train that are compared with the other splits; a run draws fewer


@cache
def drawn(split: str) -> tuple[Picture, ...]:
    return tuple(picture(split, index) for index in range(FEW))


def test_a_picture_is_a_pure_function_of_split_and_index() -> None:
    for index in (0, 7, 41):
        one, other = picture("dev", index), picture("dev", index)
        assert one.image.tobytes() == other.image.tobytes()
        assert (one.image_id, one.family) == (other.image_id, other.family)
        assert (one.questions, one.descriptions) == (other.questions, other.descriptions)
        for head in LABELS:
            np.testing.assert_array_equal(one.labels[head], other.labels[head])


def test_every_family_in_use_is_drawn_and_frames_have_several_sizes() -> None:
    assert {one.family for split in ("dev", "tune", "test") for one in drawn(split)} == set(FAMILIES)
    sizes = Counter(one.image.size for one in drawn("dev"))
    assert len(sizes) > 2
    assert sizes[FRAME, FRAME] > FEW / 2
    assert {one.image.mode for one in drawn("dev")} == {"RGB"}


@pytest.mark.parametrize(
    ("split", "images", "pairs"),
    [
        ("backbone-val", 500, 0),
        ("router-train", 12_000, 60_000),
        ("dev", 0, 5_000),
        ("tune", 0, 5_000),
        ("certify", 20_000, 20_000),
        ("test", 0, 10_000),
        *((split, 0, 3_000) for split in PLANS if split.startswith("shift-")),
    ],
)
def test_splits_are_as_large_as_they_must_be(split: str, images: int, pairs: int) -> None:
    plan = PLANS[split]
    assert plan.questions is not None
    assert plan.images >= images
    assert plan.images * plan.questions[0] >= pairs


@pytest.mark.parametrize("split", list(PLANS))
def test_a_picture_has_as_many_questions_as_its_split_plans(split: str) -> None:
    counts = [len(one.questions) for one in drawn(split)]
    plan = PLANS[split].questions
    if plan is None:
        assert min(counts) >= 5
        assert max(counts) > 6
    else:
        assert (min(counts), max(counts)) == plan


def test_small_things_are_asked_about_more_often_and_training_asks_everything() -> None:
    pages = [p for p in (picture("dev", k) for k in range(400)) if p.family == "pages"]
    asked = Counter(q.kind.removesuffix("-choice") for p in pages for q in p.questions)
    assert asked["marked"] + asked["first"] > 2 * (asked["heading"] + asked["number"])
    taught = [p for p in (picture("backbone-train", k) for k in range(60)) if p.family == "pages"]
    assert all({"heading", "number"} <= {q.kind.removesuffix("-choice") for q in p.questions} for p in taught)


def test_what_is_routed_draws_families_by_their_shares_and_the_backbone_learns_all_alike() -> None:
    assert set(ROUTED) == set(FAMILIES)
    share = Counter(ROUTED)
    assert share["pages"] > share["counting"] == share["receipts"] > share["tables"] > share["maps"]
    for split in set(PLANS) - {"backbone-train", "backbone-val", "shift-families"}:
        assert PLANS[split].families == ROUTED, split
    for split in ("backbone-train", "backbone-val"):
        assert (PLANS[split].families, PLANS[split].edition) == (tuple(FAMILIES), BACKBONE_EDITION), split
    n = 600
    found = Counter(picture("dev", k).family for k in range(n))
    for family, times in share.items():
        expected = n * times / len(ROUTED)
        assert abs(found[family] - expected) < 4 * expected**0.5, family


def test_the_shifted_sets_differ_in_what_they_are_named_for() -> None:
    shifted = {split: plan for split, plan in PLANS.items() if split.startswith("shift-")}
    assert len(shifted) == 6
    assert set(NOVELTY_SPLITS) < set(shifted)
    for split, plan in PLANS.items():
        assert (plan.style.fonts == UNSEEN_FONTS) == (split == "shift-fonts")
        assert plan.style.unseen_shades == plan.style.unseen_layout == (split == "shift-colours")
        assert plan.style.unseen_wording == (split == "shift-wording")
        assert (plan.style.sizes == UNSEEN_SIZES) == (split == "shift-aspect")
        assert (plan.families == HELD_OUT) == (split == "shift-families")
        assert (plan.finish == "artefacts") == (split == "shift-jpeg")
        assert bool(plan.replica_of) == (plan.finish == "harmless") == ("+" in split)
    assert not set(FONTS) & set(UNSEEN_FONTS)
    assert not set(FAMILIES) & set(HELD_OUT)
    used = {w / h for w, h in (*SIZES, (FRAME, FRAME))}
    assert not used & {w / h for w, h in UNSEEN_SIZES}
    assert {one.image.size for one in drawn("shift-aspect")} <= set(UNSEEN_SIZES)
    assert {one.family for one in drawn("shift-families")} == set(HELD_OUT)


@pytest.mark.parametrize("name", COLOURS)
def test_an_unseen_shade_lies_outside_those_in_use_and_keeps_its_name(name: str) -> None:
    shade = np.array(UNSEEN_SHADES[name])
    assert np.abs(shade - COLOURS[name]).max() > JITTER + JITTER // 2  # each is drawn with half the jitter
    assert min(COLOURS, key=lambda other: np.linalg.norm(shade - COLOURS[other])) == name


@pytest.mark.parametrize("style", [Style(), Style(unseen_shades=True)])
def test_grey_black_and_white_never_look_coloured(style: Style) -> None:
    for k in range(50):
        palette = style.palette(random.Random(k))
        usual = [max(shade) - min(shade) for shade in (palette[name] for name in NEUTRAL)]
        middle = UNSEEN_SHADES if style.unseen_shades else COLOURS
        own = [max(middle[name]) - min(middle[name]) for name in NEUTRAL]
        assert all(seen <= planned + JITTER // 2 for seen, planned in zip(usual, own, strict=True))
    assert len({style.palette(random.Random(k))["grey"][0] for k in range(50)}) > 8


@pytest.mark.parametrize("again", ["dev+1", "dev+2", "test+1", "test+2"])
def test_a_replicate_asks_the_same_about_pictures_that_hardly_differ(again: str) -> None:
    split = PLANS[again].replica_of
    assert again.startswith(f"{split}+")
    for one, other in zip(drawn(split), drawn(again), strict=True):
        assert (one.image_id, one.family) == (other.image_id, other.family)
        assert one.questions == other.questions
        assert one.image.size == other.image.size
        assert one.image.tobytes() != other.image.tobytes()
    ids = [sample.sample_id for sample in samples(split, 50)]
    assert ids == [sample.sample_id for sample in samples(again, 50)]
    assert {sample.split for sample in samples(again, 5)} == {again}


def test_answers_and_difficulty_are_recorded_within_the_vocabulary() -> None:
    for split in PLANS:
        for one in drawn(split):
            for question in one.questions:
                assert question.answer in ANSWERS, question
                assert question.text.endswith(("?", "."))
                assert question.difficulty, question
                assert all(value >= 0 for value in question.difficulty.values()), question


def test_splits_share_no_picture() -> None:
    owner: dict[str, str] = {}
    for split in PLANS:
        for one in drawn(split):
            assert owner.setdefault(content_hash(one.image), split) == split


def _hashes(job: tuple[str, int, int]) -> list[str]:
    split, start, stop = job
    return [content_hash(picture(split, index).image) for index in range(start, stop)]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_splits_share_no_picture_in_their_whole_length() -> None:
    owner: dict[str, str] = {}
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for split, count in SPLIT_IMAGES.items():
            last = min(count, TRAINED_ON)
            jobs = [(split, start, min(start + 100, last)) for start in range(0, last, 100)]
            for hashes in pool.map(_hashes, jobs):
                for found in hashes:
                    assert owner.setdefault(found, split) == split, f"{split} and {owner[found]} share one"


def test_an_unknown_split_or_index_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no split 'tests'.*backbone-val.*certify"):
        picture("tests", 0)
    with pytest.raises(ValueError, match="dev holds pictures 0 to 1249, not 1250"):
        picture("dev", 1250)
    with pytest.raises(ValueError, match="not -1"):
        picture("dev", -1)
    with pytest.raises(ValueError, match="no split 'nope'"):
        list(samples("nope", 1))


def test_every_split_is_read_by_its_name() -> None:
    from data.sources import load

    for split in PLANS:
        (sample,) = load(f"scalebench:{split}", limit=1)
        assert sample.split == split
    with pytest.raises(SplitError, match=r"'shift-none' does not exist.*shift-fonts"):
        list(load("scalebench:shift-none"))


def test_samples_stop_at_the_limit_and_keep_an_image_together() -> None:
    assert list(samples("dev", 0)) == []
    made = list(samples("dev", 10))
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
