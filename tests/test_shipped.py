"""What the repository ships - m3-tiny, its outcome tables, its router, its report - belongs together."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data.files import sha256
from data.reading import SHIPPED_OUTCOMES
from data.records import OutcomeTable, read_outcomes
from data.scalebench import PLANS, picture, samples
from data.scoring import METRICS
from m3_backbone import embedded_path, load_backbone
from m3_backbone.model import M3Model
from m3_backbone.types import GenerationRequest
from router import Router, embedded_bundle
from router.cli.app import build
from router.service.bodies import AnswerBody
from training.cli.app import VERBS
from training.report.places import original
from training.report.readme import blocks
from training.report.readme_examples import INDICES, QUESTIONS
from training.report.readme_figures import SHIPPED, shipped

ROOT = Path(__file__).parent.parent
PAIRS = {
    "dev": 5_000,
    "dev+1": 5_000,
    "tune": 5_000,
}
REBUILT_PAIRS = {
    "router-train": 60_000,
    "certify": 20_000,
    "test": 10_000,
    "test+1": 10_000,
    "test+2": 10_000,
    "dev+2": 5_000,
    **{split: 3_000 for split in PLANS if split.startswith("shift-")},
}


@cache
def table(split: str) -> OutcomeTable:
    return read_outcomes(SHIPPED_OUTCOMES / split)


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


@pytest.mark.parametrize("split", [*PAIRS, *REBUILT_PAIRS])
def test_a_table_is_as_large_as_promised_and_of_this_backbone(split: str) -> None:
    if split in REBUILT_PAIRS and not (SHIPPED_OUTCOMES / split / "manifest.json").is_file():
        pytest.skip(f"a clone comes without {split}: `make table-{split}`")
    assert len(table(split)) >= {**PAIRS, **REBUILT_PAIRS}[split]
    assert table(split).split == split
    assert table(split).backbone_fingerprint == tiny().fingerprint
    assert table(split).scales == tuple(tiny().ladder)
    assert len(set(table(split).sample_ids)) == len(table(split))


def test_no_picture_of_a_table_is_in_another_one() -> None:
    # Equal pictures give equal route inputs, so different route inputs are different pictures.
    owner: dict[bytes, str] = {}
    for split in [*PAIRS, *REBUILT_PAIRS]:
        if split != original(split) or not (SHIPPED_OUTCOMES / split / "manifest.json").is_file():
            continue  # another split's pictures, moved by a pixel; a table that a clone comes without
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
        np.testing.assert_allclose(inputs.grid_stats, stored.grid_stats, rtol=2e-3, atol=2e-3)
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


def test_git_ignores_the_tables_that_a_clone_comes_without() -> None:
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert set(PAIRS) == set(SHIPPED)
    home = "/data/outcomes/tiny/"
    folders = [line.removeprefix(home).removesuffix("/") for line in ignored if line.startswith(home)]
    for split in PLANS:
        if not split.startswith("backbone-"):
            assert any(fnmatch(split, folder) for folder in folders) == (split in REBUILT_PAIRS), split


def test_tables_that_are_there_are_those_that_reports_and_router_were_made_of() -> None:
    # Of another edition of the pictures they would have the same backbone, splits and sample ids.
    certified = Router.load(embedded_bundle()).bundle.certificates.outcomes
    made_of: dict[str, Any] = {"certify": {"manifest_sha256": certified}}
    for page in ("report.json", "test/report.json"):
        read = json.loads((ROOT / "docs/results" / page).read_text(encoding="utf-8"))
        made_of |= read["provenance"]["outcomes"]
    for split, told in made_of.items():
        if (SHIPPED_OUTCOMES / split / "manifest.json").is_file():
            found = sha256(SHIPPED_OUTCOMES / split / "manifest.json")
            assert found == told["manifest_sha256"], (
                f"`rm -r data/outcomes/tiny/{split}`, `make table-{split}`"
            )


def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


@cache
def figures() -> dict[str, str]:
    return shipped()


@pytest.mark.parametrize("name", ["families", "policies", "sizes", "kinds"])
def test_the_readme_holds_what_its_command_would_write(name: str) -> None:
    assert blocks(readme())[name] == figures()[name], "run `m3-train readme`"


def test_no_block_of_the_readme_is_without_a_writer() -> None:
    assert set(blocks(readme())) == {*figures(), "examples", "ask", "reply"}


def test_the_readmes_examples_are_answers_of_this_model() -> None:
    # Nothing runs here: the pictures are of dev, and its table holds what was answered at every scale.
    dev = table("dev")
    ids = {picture("dev", index).family: picture("dev", index).image_id for index in INDICES}
    rows = [line.strip("| ").split(" | ") for line in blocks(readme())["examples"].splitlines()[2:]]
    assert len(rows) == QUESTIONS * len(INDICES)
    for family, question, right, answer, scale in rows:
        (i,) = (
            i
            for i in np.flatnonzero(dev.families == family)
            if dev.questions[i] == question and dev.image_ids[dev.image_index[i]] == ids[family]
        )
        assert dev.references[i] == (right,)
        assert answer == (dev.answers[i, dev.scales.index(int(scale))] or "(empty)"), question


def test_the_readmes_reply_is_as_the_service_describes_it_and_of_this_router() -> None:
    reply = json.loads(blocks(readme())["reply"].removeprefix("```json").removesuffix("```"))
    assert AnswerBody.model_validate(reply, extra="forbid").model_dump() == reply
    assert reply["router"] == Router.load(embedded_bundle()).version


def test_the_readmes_tree_names_every_verb() -> None:
    told = {
        name: set(re.findall(r"[a-z-]+", verbs))
        for name, verbs in re.findall(r"cli/ +(m3-\w+): ([a-z, \n-]+?)\n *\S+/ ", readme())
    }
    assert set(told) == {"m3-router", "m3-train"}
    assert told["m3-train"] >= set(VERBS)
    assert told["m3-router"] == {each.name for each in build().registered_commands}
