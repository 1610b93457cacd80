"""What the repository ships - m3-tiny, its outcome tables, its router, its report - belongs together."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data.records import OutcomeTable, read_outcomes
from data.scalebench import samples
from data.scoring import METRICS
from m3_backbone import embedded_path, load_backbone
from m3_backbone.model import M3Model
from m3_backbone.types import GenerationRequest
from router import Router, embedded_bundle
from training.fit import shipped_outcomes

ROOT = Path(__file__).parent.parent
PAIRS = {"router-train": 20_000, "dev": 5_000, "tune": 5_000, "certify": 5_000, "test": 5_000}


@cache
def table(split: str) -> OutcomeTable:
    return read_outcomes(shipped_outcomes() / split)


@cache
def tiny() -> M3Model:
    return load_backbone(embedded_path())


@cache
def report() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((ROOT / "docs/results/report.json").read_text(encoding="utf-8"))
    return content


def test_m3_tiny_is_small() -> None:
    stored = [path for path in embedded_path().rglob("*") if path.is_file()]
    assert sum(value.numel() for value in tiny().model.parameters()) <= 15e6
    assert max(path.stat().st_size for path in stored) < 16 * 2**20


@pytest.mark.parametrize("split", PAIRS)
def test_a_table_is_as_large_as_promised_and_of_this_backbone(split: str) -> None:
    assert len(table(split)) >= PAIRS[split]
    assert table(split).split == split
    assert table(split).backbone_fingerprint == tiny().fingerprint
    assert table(split).scales == tuple(tiny().ladder)
    assert len(set(table(split).sample_ids)) == len(table(split))


def test_no_picture_of_a_table_is_in_another_one() -> None:
    # Equal pictures give equal route inputs, so different route inputs are different pictures.
    owner: dict[bytes, str] = {}
    for split in PAIRS:
        for pooled, stats in zip(table(split).pooled, table(split).grid_stats, strict=True):
            assert owner.setdefault(pooled.tobytes() + stats.tobytes(), split) == split


def test_the_tables_hold_what_the_backbone_answers() -> None:
    torch.set_num_threads(2)
    dev = table("dev")
    for i, sample in enumerate(samples("dev", 12)):
        assert sample.sample_id == dev.sample_ids[i]
        image = tiny().encode_image(sample.open_image())
        inputs = tiny().summarise(image, sample.question)
        stored = dev.route_inputs(i)
        np.testing.assert_allclose(inputs.pooled, stored.pooled, rtol=2e-3, atol=2e-3)  # rounded to float16
        np.testing.assert_allclose(inputs.interaction, stored.interaction, rtol=2e-3, atol=2e-3)
        np.testing.assert_array_equal(inputs.question_tokens, stored.question_tokens)
        for s, scale in enumerate(dev.scales):
            [made] = tiny().generate([GenerationRequest((sample.question,), ((image, scale),))])
            assert made.text == dev.answers[i, s], (sample.sample_id, scale)
            assert METRICS[sample.metric](made.text, sample.answers) == dev.scores[i, s]
            assert made.mean_logprob == pytest.approx(float(dev.mean_logprob[i, s]), abs=2e-3)


def test_the_router_was_made_for_m3_tiny_and_uses_more_than_one_scale() -> None:
    router = Router.load(embedded_bundle(), backbone_fingerprint=tiny().fingerprint)
    chosen = {router.route(table("dev").route_inputs(i)).scale for i in range(0, 400, 4)}
    assert len(chosen) > 1


def test_the_report_is_of_these_tables_and_this_router() -> None:
    dev = table("dev")
    assert (report()["split"], report()["n"], report()["n_images"]) == ("dev", len(dev), len(dev.image_ids))
    for s, scale in enumerate(dev.scales):
        assert report()["fixed"][str(scale)]["accuracy"] == pytest.approx(float(dev.scores[:, s].mean()))
    router = Router.load(embedded_bundle())
    chosen = [dev.scales.index(router.route(dev.route_inputs(i)).scale) for i in range(len(dev))]
    point = report()["operating_point"]
    assert point["accuracy"] == pytest.approx(float(dev.scores[np.arange(len(dev)), chosen].mean()))


def test_the_readme_shows_figures_of_the_report() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    dev = table("dev")
    for family in (*np.unique(dev.families), None):
        rows = dev.scores if family is None else dev.scores[dev.families == family]
        cells = " | ".join(f"{value:.2f}" for value in rows.mean(axis=0))
        assert f"| {family or 'all'} | {cells} |" in readme
    for scale, fixed in report()["fixed"].items():
        assert f"| fixed {scale} | {100 * fixed['accuracy']:.1f}%" in readme
    assert f"{100 * report()['operating_point']['accuracy']:.1f}%" in readme
