"""Replicates of the outcomes in a report: found, held to its table, and said on the page."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.records import OutcomeTable, RecordError, write_outcomes
from tests.reporting import make_table, report
from training.report import words
from training.report.analysis import Report
from training.report.inputs import load_inputs
from training.report.markdown import markdown
from training.report.page import html_page
from training.report.places import original
from training.report.replicates import align
from training.report.rows import as_json
from training.report.write import make_report


def perturbed(table: OutcomeTable, seed: int = 9, **changes: Any) -> OutcomeTable:
    """The table with one score in twenty turned over, and other confidences, in reversed order."""
    rng = np.random.default_rng(seed)
    flips = rng.random(table.scores.shape) < 0.05
    other = dataclasses.replace(
        table,
        scores=np.where(flips, 1 - table.scores, table.scores),
        mean_logprob=table.mean_logprob + np.float32(0.01 * (1 + seed)),
        **changes,
    )
    return other.take(np.arange(len(table))[::-1])


@functools.cache
def with_replicate(*, router: bool = True, replicates: int = 1) -> Report:
    inputs = report(router=router).inputs
    again = tuple(align(perturbed(inputs.table, k), inputs.table, Path("dev+1")) for k in range(replicates))
    return make_report(
        dataclasses.replace(inputs, replicates=again), report(router=router).provenance, draws=100
    )


def test_replicates_beside_the_table_are_found_and_put_in_order(tmp_path: Path) -> None:
    dev = make_table("dev", 8, 3)
    write_outcomes(tmp_path / "dev", dev)
    assert load_inputs(tmp_path, None).replicates == ()
    for k in (1, 2, 4):  # the fourth is not looked for: there is no third
        manifest = {**dev.manifest, "split": f"dev+{k}"}
        write_outcomes(tmp_path / f"dev+{k}", perturbed(dev, k, manifest=manifest))
    inputs = load_inputs(tmp_path, None)
    assert [again.split for again in inputs.replicates] == ["dev+1", "dev+2"]
    assert all(again.sample_ids == inputs.table.sample_ids for again in inputs.replicates)
    assert set(inputs.folders) == {"dev", "dev+1", "dev+2"}


def test_a_replicate_counts_once(tmp_path: Path) -> None:
    dev = make_table("dev", 8, 3)
    write_outcomes(tmp_path / "dev", dev)
    for k in (1, 2):
        manifest = {**dev.manifest, "split": f"dev+{k}"}
        write_outcomes(tmp_path / f"dev+{k}", perturbed(dev, manifest=manifest))
    with pytest.raises(RecordError, match=r"dev\+2 is the replicate in .*dev\+1, or a copy"):
        load_inputs(tmp_path, None)


@pytest.mark.parametrize(
    ("split", "of"), [("dev+1", "dev"), ("dev+12", "dev"), ("dev", "dev"), ("a+b", "a+b"), ("dev+0", "dev+0")]
)
def test_a_replicate_is_known_by_its_name(split: str, of: str) -> None:
    assert original(split) == of


def test_a_replicate_may_lie_anywhere(tmp_path: Path) -> None:
    dev = make_table("dev", 8, 3)
    write_outcomes(tmp_path / "a" / "dev", dev)
    write_outcomes(tmp_path / "b", perturbed(dev))
    assert len(load_inputs(tmp_path / "a", None, replicates=[tmp_path / "b"]).replicates) == 1
    with pytest.raises(RecordError, match=r"no outcome table in .*nowhere"):
        load_inputs(tmp_path / "a", None, replicates=[tmp_path / "nowhere"])


def test_replicates_that_are_given_keep_their_names(tmp_path: Path) -> None:
    dev = make_table("dev", 8, 3)
    write_outcomes(tmp_path / "dev", dev)
    given = []
    for k, split in enumerate(("dev", "dev+2", "dev+1", "dev+1")):
        given.append(tmp_path / f"given-{k}")
        write_outcomes(given[-1], perturbed(dev, k, manifest={**dev.manifest, "split": split}))
    inputs = load_inputs(tmp_path, None, replicates=given)
    folders = [inputs.folders[name] for name in ("dev+3", "dev+2", "dev+1", "dev+4")]
    assert folders == given  # the first and the last have no name that is theirs alone
    alone = load_inputs(tmp_path, None, replicates=given[1:2])
    assert set(alone.folders) == {"dev", "dev+2"}


@pytest.mark.parametrize("split", ["test+1", "test+2"])
def test_a_replicate_of_the_test_split_stays_closed_without_final(tmp_path: Path, split: str) -> None:
    table = make_table("test", 4, 3)
    write_outcomes(tmp_path / split, dataclasses.replace(table, manifest={**table.manifest, "split": split}))
    write_outcomes(tmp_path / "dev", make_table("dev", 4, 3))
    with pytest.raises(RecordError, match="--final only"):
        load_inputs(tmp_path, None, split)
    with pytest.raises(RecordError, match="--final only"):
        load_inputs(tmp_path / split, None)
    with pytest.raises(RecordError, match=r"holds the split 'test\+[12]'"):
        load_inputs(tmp_path, None, replicates=[tmp_path / split])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("itself", "is the table reported on, or a copy"),
        ("split", "holds the split 'tune'"),
        ("backbone_fingerprint", "a replicate differs in the pixels alone"),
        ("dataset", "a replicate differs in the pixels alone"),
        ("fewer", r"has 23 samples and the table reported on 24; sample 'dev-0-0'"),
        ("more", r"has 27 samples .* samples of its own"),
        ("question", "asks 'another' in sample 'dev-7-2'"),
    ],
)
def test_what_is_no_replicate_of_the_table_is_refused(change: str, said: str) -> None:
    table = make_table("dev", 8, 3)
    other = perturbed(table)
    if change == "itself":
        other = table
    elif change == "split":
        other = dataclasses.replace(other, manifest={**other.manifest, "split": "tune"})
    elif change in ("backbone_fingerprint", "dataset"):
        other = dataclasses.replace(other, manifest={**other.manifest, change: "another"})
    elif change == "fewer":
        other = other.take(np.arange(23))
    elif change == "more":
        other, table = perturbed(make_table("dev", 9, 3)), make_table("dev", 9, 3).take(np.arange(24))
    else:
        other = dataclasses.replace(other, questions=("another", *other.questions[1:]))
    with pytest.raises(RecordError, match=said):
        align(other, table, Path("folder"))


def test_the_json_has_the_reachable_oracle_beside_the_plain_one() -> None:
    got = json.loads(json.dumps(as_json(with_replicate()), allow_nan=False))
    assert got["oracle_kind"] == "reachable"
    r = got["reachable_oracle"]
    assert r["luck"]["value"] == pytest.approx(r["plain_of_all"]["value"] - r["accuracy"]["value"])
    assert r["luck"]["ci"][0] > 0
    assert set(r["none_sufficient"]) == {"smallest", "largest", "excluded"}
    assert got["oracle"] == json.loads(
        json.dumps(as_json(make_report(report().inputs, {}, draws=100))["oracle"])
    )
    point = got["operating_point"]
    assert point["token_headroom_captured"] != point["plain_oracle"]["token_headroom_captured"]["value"]
    assert as_json(report())["reachable_oracle"] is None


def test_the_page_says_how_much_of_the_oracle_is_luck() -> None:
    r = with_replicate()
    said = words.reachable(r)
    assert "points" in said
    assert "are luck" in said
    for whole in (html_page(r, []), markdown(r)):
        assert "The denominator is the reachable oracle" in whole
        assert "tokens, plain oracle" in whole
        assert "reachable oracle, hopeless left out" in whole
        assert "needs another replicate" not in whole
    assert "the table itself counts as one" in html_page(r, [])
    assert "oracle (reachable)" in html_page(r, [])


def test_what_a_single_replicate_would_choose_is_said_where_there_are_more() -> None:
    two, three = with_replicate(), with_replicate(replicates=2)
    assert "single one" not in words.reachable(two)
    assert "chosen on 2 replicates and scored on the one left out; chosen on a single one" in words.reachable(
        three
    )
    got = as_json(three)["reachable_oracle"]
    assert got["replicates"] == 3
    assert got["above_best_fixed"]["value"] > got["above_best_fixed_chosen_on_one"]["value"]
    pair = as_json(two)["reachable_oracle"]
    assert pair["above_best_fixed"] == pair["above_best_fixed_chosen_on_one"]


def test_a_report_without_a_router_still_has_the_reachable_oracle() -> None:
    assert "are luck" in markdown(with_replicate(router=False))
