"""What a report reads, and the synthetic world that the report's tests share.

In that world every question needs a scale that follows from its kind and from how fine its image is; the
router sees the fineness with noise, the lookup sees the kind alone.
"""

from __future__ import annotations

import functools
import hashlib
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.builder import TableBuilder
from data.records import Outcome, OutcomeTable, RecordError, Sample, write_outcomes
from m3_backbone.scales import Ladder
from m3_backbone.types import RouteInputs
from router.errors import BundleError, BundleMismatch
from training.candidates.lightgbm_per_scale import LightGBMPerScale
from training.fit import fit
from training.report.inputs import contenders, load_inputs, router_flops

LADDER = (1, 9, 36, 144, 576)
FAMILIES = {"scenes": ("colour", "count"), "text": ("read", "place"), "tables": ("cell", "sum")}
NEED = {"colour": -0.3, "count": 0.8, "read": 2.6, "place": 1.0, "cell": 2.2, "sum": 3.2}
WORDS = {kind: 10 + i for i, kind in enumerate(NEED)}


def make_table(split: str, n_images: int, seed: int, fingerprint: str = "synthetic") -> OutcomeTable:
    """Three questions of one family about each image."""
    rng = np.random.default_rng(seed)
    builder = TableBuilder(
        {
            "backbone": "synthetic",
            "backbone_fingerprint": fingerprint,
            "dataset": "synthetic",
            "split": split,
            "prompt": "plain",
            "metric": "exact_match",
        }
    )
    half = np.float16
    for i in range(n_images):
        family = sorted(FAMILIES)[int(rng.integers(3))]
        fine = float(rng.normal())
        image_id = f"{split}-{i}"
        stats = np.array([fine + rng.normal() * 0.3, rng.normal()], half).astype(np.float32)
        pooled = rng.normal(size=(2, 3)).astype(half).astype(np.float32)
        for q in range(3):
            kind = FAMILIES[family][int(rng.integers(2))]
            need = NEED[kind] + 0.9 * fine + rng.normal() * 0.4
            hopeless = rng.random() < 0.12
            right = [not hopeless and s >= need for s in range(5)]
            right = [r ^ bool(rng.random() < 0.03) for r in right]
            sample = Sample(
                sample_id=f"{image_id}-{q}",
                image_id=image_id,
                open_image=lambda: Image.new("RGB", (40, 30), (200, 40, 40)),
                question=f"What is the {kind} of thing <{q}>?",
                answers=(f"{kind} {i}",),
                metric="exact_match",
                dataset="synthetic",
                split=split,
                family=family,
                kind=kind,
            )
            question = np.zeros(4, np.float32)
            question[WORDS[kind] % 4] = 1.0
            inputs = RouteInputs(
                ladder=Ladder(LADDER),
                image_size=(40, 30),
                views=1,
                visual_tokens=LADDER,
                text_tokens=12,
                grid_stats=stats,
                grid_stat_names=("fineness", "noise"),
                pooled=pooled,
                question=question,
                question_tokens=np.array([1, 2, WORDS[kind], 3], np.int32),
                interaction=np.array([0.5], np.float32),
                interaction_names=("similarity",),
            )
            outcomes = [
                Outcome(
                    sample_id=sample.sample_id,
                    scale=scale,
                    answer=sample.answers[0] if right[s] else f"not {s}",
                    score=float(right[s]),
                    visual_tokens=scale,
                    text_tokens=12,
                    answer_tokens=3,
                    mean_logprob=-0.1,
                    min_logprob=-0.2,
                    first_margin=0.5,
                    flops=50_000_000 + 4_000_000 * (scale + 12),
                )
                for s, scale in enumerate(LADDER)
            ]
            builder.add(sample, inputs, outcomes)
    return builder.build()


@functools.cache
def world() -> Path:
    """A folder with ``outcomes/SPLIT`` and ``bundle``, made once."""
    home = Path(tempfile.mkdtemp(prefix="m3-report-"))
    for split, n_images in (("router-train", 500), ("tune", 250), ("dev", 250), ("test", 100)):
        seed = int(hashlib.sha256(split.encode()).hexdigest()[:6], 16)
        write_outcomes(home / "outcomes" / split, make_table(split, n_images, seed))
    train, tune = make_table("router-train", 500, 1), make_table("tune", 250, 2)
    fit(train, tune, LightGBMPerScale(), threads=1).bundle.write(home / "bundle")
    return home


def test_a_folder_of_splits_gives_the_split_asked_for_with_its_helpers() -> None:
    inputs = load_inputs(world() / "outcomes", world() / "bundle")
    assert inputs.split == "dev"
    assert inputs.tune is not None
    assert inputs.train is not None
    assert set(inputs.folders) == {"dev", "tune", "router-train"}
    assert inputs.predictions is not None
    assert inputs.predictions.sufficient.shape == (750, 5)


def test_the_folder_of_one_table_finds_its_neighbours() -> None:
    inputs = load_inputs(world() / "outcomes" / "dev", None)
    assert inputs.split == "dev"
    assert inputs.train is not None
    assert [c.name for c in contenders(inputs)] == ["lookup"]


def test_the_router_competes_with_its_default_price_and_its_budgets() -> None:
    inputs = load_inputs(world() / "outcomes", world() / "bundle")
    router, lookup = contenders(inputs)
    assert (router.name, lookup.name) == ("router", "lookup")
    assert inputs.router is not None
    assert router.extra[0].targets == (inputs.router.bundle.prices.default,)
    assert router.extra[1].name == "token_budget"
    assert set(router.extra[1].targets) <= {9.0, 36.0, 72.0, 144.0, 288.0}
    assert router_flops(inputs.router) >= 0.0


def test_a_replayed_choice_is_what_the_router_answers_to_one_request() -> None:
    inputs = load_inputs(world() / "outcomes", world() / "bundle")
    assert inputs.router is not None
    router, _ = contenders(inputs)
    chosen = router.extra[0].choices[0]
    for i in range(0, 750, 50):
        decision = inputs.router.route(inputs.table.route_inputs(i))
        assert decision.scale == LADDER[chosen[i]]


@pytest.mark.parametrize("how", ["split", "folder"])
def test_the_test_split_stays_closed_without_final(how: str) -> None:
    home = world() / "outcomes"
    with pytest.raises(RecordError, match="--final"):
        load_inputs(home if how == "split" else home / "test", None, "test" if how == "split" else "dev")


def test_final_opens_the_test_split_alone() -> None:
    assert load_inputs(world() / "outcomes", None, "test", final=True).split == "test"
    with pytest.raises(RecordError, match="--final opens the split 'test'"):
        load_inputs(world() / "outcomes" / "dev", None, "test", final=True)


def test_a_missing_split_names_those_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="splits there: dev, router-train, test, tune"):
        load_inputs(world() / "outcomes", None, "certify")
    with pytest.raises(RecordError, match="m3-train label"):
        load_inputs(tmp_path, None)


def test_a_bundle_of_another_backbone_is_refused(tmp_path: Path) -> None:
    write_outcomes(tmp_path / "dev", make_table("dev", 5, 3, fingerprint="another"))
    with pytest.raises(BundleMismatch, match="another"):
        load_inputs(tmp_path, world() / "bundle")
    with pytest.raises(BundleError, match="m3-train fit"):
        load_inputs(world() / "outcomes", tmp_path / "nowhere")


def test_neighbours_of_another_backbone_are_left_out(tmp_path: Path) -> None:
    write_outcomes(tmp_path / "dev", make_table("dev", 5, 3))
    write_outcomes(tmp_path / "router-train", make_table("router-train", 5, 4, fingerprint="another"))
    inputs = load_inputs(tmp_path, None)
    assert inputs.train is None
    assert contenders(inputs) == ()
