"""Importing what other programs recorded: layouts, rows, the table, the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from data.records import OutcomeTable, RecordError, read_outcomes, write_outcomes
from data.sources import SourceError
from data.unreadable import NAME
from tests.routing import outcomes
from tests.sources import SHARED, lines
from training.candidates.lookup import Lookup
from training.cli.import_outcomes import command
from training.fit import fit
from training.importing.layout import LAYOUTS, Layout, look_up
from training.importing.rows import read_answers
from training.importing.table import Origin, build_table
from training.report.inputs import load_inputs
from training.report.rows import as_json
from training.report.write import make_report

ORIGIN = Origin("llava", "mine", "exact_match")
ROW = {"id": "a", "question": "What?", "answers": ["dog"], "answer": "dog", "scale": 9, "image": "x.png"}


def imported(
    path: Path, layout: Layout = LAYOUTS["rows"], origin: Origin = ORIGIN, **more: Any
) -> OutcomeTable:
    return build_table(read_answers(path, layout, **more), origin, [path])


def test_a_path_goes_through_keys_and_places() -> None:
    row = {"doc": {"q": "why"}, "resps": [["a", "b"]], "x.y": 7, "x": {"y": 8}}
    assert look_up(row, "doc.q") == "why"
    assert look_up(row, "resps.0.1") == "b"
    assert look_up(row, "x.y") == 7
    for missing in ("", "doc.z", "resps.2", "resps.-1", "doc.q.0", "none"):
        assert look_up(row, missing) is None


def test_rows_become_a_table_with_scores_by_the_metric(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "log.jsonl",
        ROW,
        {**ROW, "scale": 1, "answer": "cat"},
        {**ROW, "id": "b", "scale": "1", "answer": "dog", "group": "pets", "visual_tokens": 5},
        {**ROW, "id": "b", "group": "pets", "score": 0.25},
    )
    t = imported(path)
    assert t.scales == (1, 9)
    assert t.scores.tolist() == [[0.0, 1.0], [1.0, 0.25]]
    assert t.visual_tokens.tolist() == [[1, 9], [5, 9]]
    assert t.families.tolist() == ["", "pets"]
    assert t.image_ids == ("x.png",)
    write_outcomes(tmp_path / "t", t)
    back = read_outcomes(tmp_path / "t")
    assert back.answers.tolist() == [["cat", "dog"], ["dog", "dog"]]
    assert back.manifest["route_inputs"] == "none"
    assert back.backbone_fingerprint == "imported: llava"
    assert [f["file"] for f in back.manifest["imported_from"]] == ["log.jsonl"]  # type: ignore[attr-defined]
    assert (np.diff(back.flops, axis=1) > 0).all()


def test_csv_and_files_with_byte_order_mark_and_crlf_are_read(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(
        "\ufeffid,question,answers,answer,scale,score\r\n"
        'a,Wö?,"[""x"", ""y""]",x,1,\r\n'
        "b,Wo?,[x,z,1,0.5\r\n".encode()
    )
    t = imported(path)
    assert t.references == (("x", "y"), ("[x",))
    assert t.scores.tolist() == [[1.0], [0.5]]
    assert t.image_ids == ("a", "b")  # without an image every question is its own


def test_wide_rows_have_all_scales_as_shares_of_the_tokens(tmp_path: Path) -> None:
    wide = {
        "i": 0,
        "question": "q",
        "answers": ["dog"],
        "scales": {"0.05": {"pred": "cat"}, "1": {"pred": "dog"}},
    }
    t = imported(lines(tmp_path / "wide.jsonl", wide), LAYOUTS["wide"], full_tokens=576)
    assert t.scales == (29, 576)
    assert t.scores.tolist() == [[0.0, 1.0]]


def test_lmms_logs_name_no_scale_and_come_one_by_one(tmp_path: Path) -> None:
    def log(answer: str) -> dict[str, Any]:
        doc = {"question": "q?", "image_id": "p"}
        return {"doc_id": 3, "doc": doc, "target": ["yes"], "filtered_resps": [answer], "exact_match": 1.0}

    small = lines(tmp_path / "36.jsonl", log("no"))
    large = tmp_path / "576.json"
    large.write_text(json.dumps({"args": {}, "logs": [log("yes")]}))
    both = [a for s, p in ((36, small), (576, large)) for a in read_answers(p, LAYOUTS["lmms"], scale=s)]
    t = build_table(both, ORIGIN)
    assert (t.scales, t.scores.tolist(), t.image_ids) == ((36, 576), [[0.0, 1.0]], ("p",))
    with pytest.raises(SourceError, match=r"has no scale\. Name the scale of the whole file: --file SCALE="):
        list(read_answers(small, LAYOUTS["lmms"]))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([ROW, ROW], "line 2: sample 'a' at scale 9 comes twice"),
        ([ROW, {**ROW, "id": "b", "scale": 1}], "sample 'a' has no answer at scale 1; others have"),
        ([ROW, {**ROW, "scale": 1, "question": "Who?"}], "line 2: sample 'a' has question 'Who"),
        ([ROW, {**ROW, "scale": 1, "answers": ["cat"]}], "line 2: sample 'a' has references"),
        ([{**ROW, "score": float("nan")}], "line 1: score is nan; a score is a number from 0 to 1"),
        ([{**ROW, "score": 70}], "line 1: score is 70"),
        ([{**ROW, "score": "good"}], "line 1: score is 'good'"),
        ([{**ROW, "visual_tokens": 1.5}], "line 1: visual_tokens is 1.5; tokens are a whole number"),
        ([{**ROW, "scale": 0.5}], "line 1: scale 0.5 is not a whole number.*--full-tokens"),
        ([{**ROW, "scale": True}], "line 1: scale True is not a whole number"),
        ([{**ROW, "scale": 0}], "line 1: scale 0 is not"),
        (
            [{"id": "a", "answers": ["x"], "scale": 1}],
            "line 1 has no question; it has id, answers.*--at FIELD=PATH",
        ),
        ([{"id": "a", "question": "q", "scale": 1}], "line 1 has no answers; it has id, question"),
        ([{**ROW, "answers": []}], "line 1: answers is empty"),
        ([], "has no answers: nothing to import"),
    ],
)
def test_what_does_not_fit_together_names_file_and_row(tmp_path: Path, rows: list[Any], message: str) -> None:
    path = lines(tmp_path / "log.jsonl", *rows)
    with pytest.raises((SourceError, RecordError), match=message) as caught:
        imported(path)
    assert "log.jsonl" in str(caught.value)


@pytest.mark.parametrize(
    ("scales", "message"),
    [
        (None, "scales is None, not an object"),
        ({}, "scales is {}, not an object"),
        ({"1": "cat"}, "scales.1 is 'cat', not an object"),
        ({"2": {"pred": "x"}}, "scale '2' is not a share of all tokens"),
        ({"nan": {"pred": "x"}}, "scale 'nan' is not a share"),
        ({"0.5": {}}, "has no pred; it has nothing"),
    ],
)
def test_wide_rows_that_are_wrong_are_named(tmp_path: Path, scales: Any, message: str) -> None:
    path = lines(tmp_path / "w.jsonl", {"i": 1, "question": "q", "answers": ["a"], "scales": scales})
    with pytest.raises(SourceError, match=rf"w\.jsonl, line 1.*{message}"):
        imported(path, LAYOUTS["wide"], full_tokens=576)


def test_references_that_the_metric_cannot_use_name_the_row(tmp_path: Path) -> None:
    path = lines(tmp_path / "log.jsonl", ROW)
    with pytest.raises(RecordError, match=r"log\.jsonl, line 1: textvqa_m4c needs exactly 10"):
        imported(path, origin=Origin("m", "d", "textvqa_m4c"))


def test_no_router_is_fitted_on_a_table_without_route_inputs(tmp_path: Path) -> None:
    t = imported(lines(tmp_path / "log.jsonl", ROW))
    with pytest.raises(RecordError, match="router-train was imported and has no route inputs"):
        fit(t, outcomes(40, split="tune"), Lookup())


def run(*arguments: object) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "200"})
    assert "Traceback" not in result.output
    return result.exit_code, " ".join(result.output.split())


def test_the_command_imports_a_file_per_scale_with_fields_elsewhere(tmp_path: Path) -> None:
    files = [
        f"{scale}={lines(tmp_path / f'{scale}.jsonl', {**ROW, 'answer': None, 'said': {'text': said}})}"
        for scale, said in ((1, "cat"), (9, "dog"))
    ]
    out = tmp_path / "out"
    options = ("--model", "llava", "--metric", "exact_match", "--out", out, "--at", "answer=said.text")
    code, text = run(*(x for f in files for x in ("--file", f)), *options)
    assert code == 0, text
    assert "1 samples of 1 images" in text
    assert read_outcomes(out).scores.tolist() == [[0.0, 1.0]]


def test_rows_of_unreadable_images_of_a_table_that_is_replaced_do_not_stay(tmp_path: Path) -> None:
    out, path = tmp_path / "out", lines(tmp_path / "log.jsonl", ROW)
    lines(out / NAME, {"sample_id": "old", "image_id": "gone.png"})
    code, text = run("--file", path, "--model", "m", "--metric", "exact_match", "--out", out)
    assert code == 0, text
    assert read_outcomes(out).sample_ids == ("a",)
    assert not (out / NAME).exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--metric", "bleu"], "Metric 'bleu' is not known"),
        (["--layout", "odd"], "Layout 'odd' is not known. Known: rows, wide, lmms, llava"),
        (["--at", "answer"], "--at 'answer' is not FIELD=PATH with FIELD one of id, question"),
        (["--at", "reply=text"], "--at 'reply=text' is not FIELD=PATH"),
        (["--file", "none.jsonl"], "none.jsonl cannot be read"),
    ],
)
def test_the_command_says_what_is_wrong_in_one_line(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    path = lines(tmp_path / "log.jsonl", ROW)
    base = ["--model", "m", "--metric", "exact_match", "--file", str(path), "--out", str(tmp_path / "out")]
    code, text = run(*base, *arguments)
    assert code == 2
    assert message in text
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the recorded outcomes of another program")
def test_a_real_recording_comes_in_with_one_command_and_its_report_shows_the_known_facts(
    tmp_path: Path,
) -> None:
    path = SHARED / "outcomes" / "textvqa200_kaggle_gpu.jsonl"
    code, text = run(
        *("--layout", "wide", "--file", path, "--full-tokens", 576, "--metric", "textvqa_m4c"),
        *("--dataset", "textvqa", "--split", "val", "--model", "llava-1.5-7b", "--out", tmp_path / "t"),
    )
    assert code == 0, text
    inputs = load_inputs(tmp_path / "t", None)
    provenance: dict[str, Any] = {}
    got = as_json(make_report(inputs, provenance, draws=100))
    assert [round(f["accuracy"], 4) for f in got["fixed"].values()] == [
        *(0.521, 0.5265, 0.5435),
        *(0.556, 0.548, 0.548),
    ]
    assert [int(s) for s in got["fixed"]] == [29, 58, 144, 288, 432, 576]
    assert got["oracle"]["accuracy"] == pytest.approx(0.6395)
    assert got["best_fixed_scale"] == 288
