"""The synthetic world of the report's tests: outcome tables and a bundle on disk, made once.

Every question needs a scale that follows from its kind and from how fine its image is; the router sees
the fineness with noise, a lookup sees the kind alone.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from data.builder import TableBuilder
from data.records import Outcome, OutcomeTable, Sample, write_outcomes
from m3_backbone.scales import Ladder
from m3_backbone.types import RouteInputs
from training.candidates.lightgbm_embeddings import lightgbm_embeddings
from training.candidates.lightgbm_per_scale import LightGBMPerScale
from training.fit import fit
from training.report.analysis import Report
from training.report.inputs import load_inputs
from training.report.provenance import collect
from training.report.write import make_report

DRAWS = 200
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
    fit(train, tune, LightGBMPerScale(groups=lightgbm_embeddings().groups), threads=1).bundle.write(
        home / "bundle"
    )
    return home


@functools.cache
def report(*, router: bool = True) -> Report:
    inputs = load_inputs(world() / "outcomes", world() / "bundle" if router else None)
    provenance = collect(inputs, command="m3-train report --out out", draws=DRAWS, seed=0)
    return make_report(inputs, provenance, draws=DRAWS)


def changed(**changes: Any) -> Report:
    """The report of the same table with some of its arrays exchanged."""
    inputs = dataclasses.replace(report().inputs, table=dataclasses.replace(report().inputs.table, **changes))
    return make_report(inputs, report().provenance, draws=100)
