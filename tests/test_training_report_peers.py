"""Other candidates in a report: read from a comparison of the same table, drawn and told."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.reporting import report
from training.report.analysis import Report
from training.report.markdown import markdown
from training.report.page import html_page
from training.report.peers import PeersError, read_peers
from training.report.rows import as_json


def candidate(name: str, area: float, over: float | None, **more: Any) -> dict[str, Any]:
    tokens = np.geomspace(4, 300, 41).tolist()
    setting = {"accuracy": area, "visual_tokens": 40.0, "flops": 2e8, "flops_7b": 1e12, "role": "thrifty"}
    return {
        "name": name,
        "seeds": [0, 1],
        "area": {"value": area, "ci": [area - 0.01, area + 0.01], "sd_between_seeds": None},
        "frontier": {"visual_tokens": tokens, "accuracy": np.linspace(area - 0.2, area, 41).tolist()},
        "over_main": None if over is None else {"area": {"value": over, "ci": [over - 0.01, over + 0.01]}},
        "settings": {"thrifty": setting},
        **more,
    }


def comparison(**changes: Any) -> dict[str, Any]:
    outcomes = report().provenance["outcomes"]
    return {
        "folds": 0,
        "split": "dev",
        "main": "ours",
        "area_range": [4.0, 300.0],
        "candidates": [
            candidate("ours", 0.7, None),
            candidate("theirs <b>", 0.65, -0.05),
            candidate("lookup", 0.6, -0.1),
            candidate("fixed hull", 0.5, -0.2, seeds=[], settings={}),
        ],
        "provenance": {"commit": "abcdef0123456789", "outcomes": {"dev": outcomes["dev"]}},
        **changes,
    }


def written(folder: Path, content: Any) -> Path:
    (folder / "compare.json").write_text(json.dumps(content))
    return folder


def with_peers(folder: Path) -> Report:
    peers = read_peers(written(folder, comparison()), report().provenance, "dev")
    return dataclasses.replace(report(), peers=peers)


def test_candidates_are_read_but_for_what_the_report_draws_itself(tmp_path: Path) -> None:
    peers = with_peers(tmp_path).peers
    assert peers is not None
    assert [(p.name, p.seeds) for p in peers.rows] == [("ours", 2), ("theirs <b>", 2)]
    assert peers.rows[0].over is None
    assert peers.rows[1].over is not None
    assert peers.rows[1].over.value == -0.05
    assert peers.rows[1].settings["thrifty"] == {
        "accuracy": 0.65,
        "visual_tokens": 40.0,
        "flops": 2e8,
        "flops_7b": 1e12,
    }
    assert read_peers(tmp_path / "compare.json", report().provenance, "dev") == peers


def test_page_markdown_and_json_have_them_and_the_picture_tells_them(tmp_path: Path) -> None:
    r = with_peers(tmp_path)
    page = html_page(r, [])
    assert "Other candidates: ours up to 70.0%; theirs &lt;b&gt; up to 65.0%." in page
    assert page.count(">other candidates<") == 3  # over tokens and both kinds of FLOPs; their time is unknown
    assert "theirs <b>" not in page
    assert "| theirs <b> | 2 | 65.0% (64.0% to 66.0%) | −5.0 (−6.0 to −4.0) |" in markdown(r)
    assert as_json(r)["peers"]["candidates"][1]["over_main"]["value"] == -0.05
    assert as_json(report())["peers"] is None
    assert "other candidates" not in html_page(report(), [])


OTHER = {"commit": None, "outcomes": {"dev": {"manifest_sha256": "0" * 64}}}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (comparison(folds=4), "compares on 4 folds of dev, this report is on dev"),
        (comparison(split="certify"), "compares on the split certify, this report is on dev"),
        (comparison(provenance=OTHER), "is of another table of split dev.*run `m3-train compare` on this"),
        (comparison(candidates=[{"name": "x"}]), "is no comparison of `m3-train compare`"),
        (comparison(candidates=7), "is no comparison of `m3-train compare`"),
        ({"n": 1}, "is no comparison of `m3-train compare`"),
        ([], "is no comparison of `m3-train compare`"),
    ],
)
def test_what_is_no_comparison_of_this_table_is_refused(tmp_path: Path, content: Any, said: str) -> None:
    with pytest.raises(PeersError, match=said):
        read_peers(written(tmp_path, content), report().provenance, "dev")


def test_a_missing_or_damaged_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PeersError, match=r"compare\.json cannot be read \(No such file"):
        read_peers(tmp_path, report().provenance, "dev")
    (tmp_path / "compare.json").write_text("{")
    with pytest.raises(PeersError, match=r"compare\.json is not JSON"):
        read_peers(tmp_path, report().provenance, "dev")
