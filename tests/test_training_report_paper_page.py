"""``m3-train report --paper``: what the paper's own tables leave to a router."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from training.cli.report import command
from training.report.paper_headroom import Benchmark, benchmarks
from training.report.paper_page import as_markdown, headline, html_page, write_paper
from training.report.provenance import of_command

PROVENANCE = of_command("m3-train report --paper --out x")


def of(model: str, name: str) -> Benchmark:
    return next(b for b in benchmarks() if (b.model, b.name) == (model, name))


def test_headroom_is_the_oracle_over_the_best_fixed_scale() -> None:
    textvqa = of("LLaVA-NeXT-M3", "TextVQA")
    assert textvqa.scales == (1, 9, 36, 144, 576)
    assert textvqa.scales[textvqa.best] == 576
    assert textvqa.accuracy_headroom == pytest.approx(0.7051 - 0.6313)
    assert textvqa.token_headroom == pytest.approx(1 - 31.39 / 576)
    mmmu = of("LLaVA-NeXT-M3", "MMMU")
    assert mmmu.scales[mmmu.best] == 36  # more tokens do worse there
    assert mmmu.accuracy_headroom == pytest.approx(0.5044 - 0.368)
    assert [mmmu.scales[s] for s in mmmu.hull] == [1, 36]  # 9 is just below the chord


def test_a_model_without_an_oracle_has_no_headroom() -> None:
    gqa = of("LLaVA-1.5-7B-M3", "GQA")
    assert (gqa.oracle, gqa.accuracy_headroom, gqa.token_headroom) == (None, None, None)
    assert (gqa.base, gqa.accuracy[-1]) == (0.62, 0.619)
    assert len(benchmarks()) == 13


def test_page_and_markdown_have_every_benchmark_and_a_text_for_every_picture() -> None:
    page, text = html_page(benchmarks(), PROVENANCE), as_markdown(benchmarks(), PROVENANCE)
    assert page.count("<svg") == 13
    for b in benchmarks():
        for whole in (page, text):
            assert b.name in whole
    alternatives = re.findall(r'aria-label="([^"]*accuracy against tokens per grid[^"]*)"', page)
    assert len(alternatives) == 13
    assert "scale 1: 38.9%" in alternatives[0]
    assert "Oracle: 70.5% at 31.4." in alternatives[0]
    assert "src=" not in page
    assert "<script" not in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert "3.6 to 13.6 points above the best fixed scale (ScienceQA, MMMU)" in headline(benchmarks())
    for block in re.findall(r"(?:^\|.*\n?)+", text, flags=re.MULTILINE):
        assert len({line.count("|") for line in block.strip().splitlines()}) == 1


def test_three_files_are_written_and_the_json_says_the_source(tmp_path: Path) -> None:
    names = [path.name for path in write_paper(tmp_path / "new", PROVENANCE)]
    assert names == ["paper.html", "paper.md", "paper.json"]
    got = json.loads((tmp_path / "new" / "paper.json").read_text())
    assert "2405.17430" in got["source"]
    assert got["benchmarks"][0]["oracle"] == {"accuracy": pytest.approx(0.7051), "tokens_per_grid": 31.39}
    assert got["benchmarks"][0]["fixed"]["36"] == pytest.approx(0.5871)


def test_the_command_takes_nothing_beside_it(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(command)
    done = CliRunner().invoke(app, ["--paper", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "points above the best fixed scale" in done.output.replace("\n", " ")
    made = json.loads((tmp_path / "paper.json").read_text())["provenance"]
    assert made["command"] == f"m3-train report --paper --out {tmp_path.name}"
    assert f"Made by `{made['command']}` on {made['created'][:10]} at commit `" in (
        tmp_path / "paper.md"
    ).read_text(encoding="utf-8")
    page = (tmp_path / "paper.html").read_text(encoding="utf-8")
    assert made["command"] in page
    assert made["created"] in page
    refused = CliRunner().invoke(app, ["--paper", "--bundle", "none", "--out", str(tmp_path)])
    assert refused.exit_code == 2
    assert "leave out all options" in " ".join(refused.output.split())
