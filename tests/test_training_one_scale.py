"""M3 against a model per scale and against untrained pooling: figures, page, and all of it at once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from data.records import OutcomeTable, RecordError
from m3_backbone.scales import Ladder
from m3_backbone.types import Generation
from tests.labelling import FakeBackbone, table
from tests.training_backbone import RECIPE
from training.backbone.progress import save
from training.backbone.recipe import SCALES
from training.one_scale import make as making
from training.one_scale import models
from training.one_scale.comparison import compare
from training.one_scale.models import FULL, MODELS, Model
from training.one_scale.page import markdown, picture, verdict, write_page

IMAGES, EACH = 40, 3
PROVENANCE = {
    "command": "m3-train one-scale --minutes 3 --dataset toy:dev",
    "commit": "abc",
    "dataset": "toy:dev",
    "questions": IMAGES * EACH,
    "images": IMAGES,
    "minutes": 3.0,
    "steps": {model.name: 100 for model in MODELS},
}


def scored(shares: Mapping[int, float], seed: int) -> OutcomeTable:
    """A table with scores of 0 and 1 whose mean at a scale is about ``shares[scale]``."""
    made = table(IMAGES, EACH)
    rng = np.random.default_rng(seed)
    right = rng.random((len(made), len(shares))) < np.array(list(shares.values()))
    return replace(made, scales=tuple(shares), scores=right.astype(np.float32))


def tables() -> dict[str, OutcomeTable]:
    """M3 is better than the specialist at the smallest scale only; pooling fails below the full scale."""
    m3 = scored(dict.fromkeys(SCALES, 0.9), 1)
    found = {"m3": m3}
    for k, scale in enumerate(SCALES):
        found[f"only-{scale}"] = scored(dict.fromkeys(SCALES, 0.3 if scale == 1 else 0.9), 10 + k)
    found[f"only-{FULL}"] = scored({s: 0.9 if s == FULL else 0.1 for s in SCALES}, 30)
    return found


def test_every_scale_is_a_model_and_the_full_one_is_asked_everywhere() -> None:
    assert [model.name for model in MODELS] == ["m3", *(f"only-{scale}" for scale in SCALES)]
    assert MODELS[0].trained == MODELS[0].asked == MODELS[-1].asked == SCALES
    assert MODELS[1] == Model("only-1", (1,), (1,))
    assert [model.shares.index(1.0) for model in MODELS[1:]] == list(range(len(SCALES)))
    assert all(sum(model.shares) == len(model.trained) for model in MODELS)


def test_figures_are_means_and_paired_differences_with_intervals_around_them() -> None:
    given = tables()
    rows = compare(given, draws=400)
    assert [row.scale for row in rows] == list(SCALES)
    for k, row in enumerate(rows):
        alone = given[f"only-{row.scale}"].scores[:, k]
        assert row.m3.mean == pytest.approx(given["m3"].scores[:, k].mean())
        assert row.alone.mean == pytest.approx(alone.mean())
        assert row.gain.mean == pytest.approx(row.m3.mean - row.alone.mean)
        assert row.over_pooling.mean == pytest.approx(row.m3.mean - row.pooled.mean)
        for value in (row.m3, row.alone, row.pooled, row.gain, row.over_pooling):
            assert value.low <= value.mean <= value.high
            assert value.high - value.low < 0.3
    assert rows[0].gain.low > 0.3
    assert all(row.gain.low < 0 < row.gain.high for row in rows[1:])
    assert rows[-1].pooled == rows[-1].alone
    same = compare(dict.fromkeys(given, given["m3"]), draws=50)
    assert all((row.gain.low, row.gain.high) == (0.0, 0.0) for row in same)


def test_tables_of_some_scales_are_enough_for_models_of_one_scale() -> None:
    given = tables()
    for k, scale in enumerate(SCALES[:-1]):
        whole = given[f"only-{scale}"]
        given[f"only-{scale}"] = replace(whole, scales=(scale,), scores=whole.scores[:, k : k + 1])
    assert compare(given, draws=50) == compare(tables(), draws=50)


def test_tables_of_other_questions_are_refused_by_the_models_name() -> None:
    given = tables()
    given["only-9"] = table(IMAGES - 1, EACH)
    with pytest.raises(RecordError, match="The table of only-9 is not of the questions"):
        compare(given)


def test_the_page_has_every_figure_and_says_who_is_better(tmp_path: Path) -> None:
    rows = compare(tables(), draws=200)
    said = verdict(rows)
    assert said == (
        "M3 against a model per scale: better at 1 of 5 scales, worse at 0, within noise at 4; "
        "against pooling without training: better at 4 of 4 scales, worse at 0, within noise at 0."
    )
    text = markdown(rows, PROVENANCE)
    assert said in text
    assert "for 3 minutes each" in text
    assert f"{100 * rows[0].gain.mean:+.1f} (" in text
    assert "only-576 100" in text
    assert picture(rows).startswith(b"<?xml")
    assert picture(rows) == picture(rows)
    written = write_page(rows, tmp_path / "new", PROVENANCE)
    assert [path.name for path in written] == ["one-scale.md", "one-scale.svg", "one-scale.json"]
    told = json.loads(written[2].read_text("utf-8"))
    assert told["rows"][0]["gain"]["mean"] == rows[0].gain.mean
    assert told["provenance"]["steps"] == PROVENANCE["steps"]


class _Knows(FakeBackbone):
    """Answers everything that is asked with "no"."""

    conversation = "m3_tiny"

    def _answer(self, request: object) -> Generation:
        return Generation("no", (1,), (-0.1,), 0.5, "stop", 3, 1)


def test_all_of_it_trains_asks_and_writes_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    run.mkdir()
    (run / "recipe.json").write_text(json.dumps(asdict(RECIPE)), encoding="utf-8")
    trained: list[str] = []

    def train(folder: Path, model: Model, minutes: float, threads: int | None) -> Path:
        trained.append(f"{model.name} {minutes:g}")
        save(folder / "one-scale" / model.name / "language.pt", {"step": 7})
        return folder / "one-scale" / model.name / "checkpoint"

    for model in MODELS:
        (run / "one-scale" / model.name).mkdir(parents=True)
    monkeypatch.setattr(making, "train", train)
    monkeypatch.setattr(
        making, "load_backbone", lambda path: _Knows(fingerprint=path.parent.name, ladder=Ladder(SCALES))
    )
    for _ in range(2):
        written = making.make(run, out, minutes=2.0, dataset="scalebench:dev", limit=6, seed=0)
    assert trained[: len(MODELS)] == [f"{model.name} 2" for model in MODELS]
    told = json.loads(written[2].read_text("utf-8"))
    assert told["provenance"]["questions"] == 6
    assert told["provenance"]["steps"]["only-36"] == 7
    assert (
        told["provenance"]["command"] == "m3-train one-scale --minutes 2 --dataset scalebench:dev --limit 6"
    )
    assert "/" not in told["provenance"]["command"].replace("one-scale", "")


def test_a_model_of_one_scale_takes_that_scale_in_every_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    for split in ("train", "val"):
        (run / split).mkdir(parents=True)
        (run / split / "features.done").write_text("")
    (run / "tower.pt").write_bytes(b"")
    (run / "tokenizer.model").write_bytes(b"")
    (run / "recipe.json").write_text(
        json.dumps(asdict(replace(RECIPE, start="tiny", rate_share=0.2))), encoding="utf-8"
    )
    stages: list[str] = []

    class Run:
        def __init__(self, folder: Path, recipe: object) -> None:
            self.folder = folder

        def run(self, stage: str) -> None:
            stages.append(stage)
            if stage == "export":
                (self.folder / "checkpoint").mkdir()
                (self.folder / "checkpoint" / "README.md").write_text("made")

    monkeypatch.setattr(models, "BackboneRun", Run)
    for _ in range(2):
        assert models.train(run, MODELS[3], 4.0, threads=1) == run / "one-scale" / "only-36" / "checkpoint"
    assert stages == ["language", "export"]
    with pytest.raises(ValueError, match="was trained for 4: take that, or delete"):
        models.train(run, MODELS[3], 9.0)
    recipe = json.loads((run / "one-scale" / "only-36" / "recipe.json").read_text("utf-8"))
    assert recipe["phase1_shares"] == recipe["phase2_shares"] == [0.0, 0.0, 1.0, 0.0, 0.0]
    assert (recipe["minutes_phase1"], recipe["minutes_phase2"]) == (0.0, 4.0)
    assert recipe["start"] == ""  # whatever the run itself began with
    assert (recipe["rate_share"], recipe["threads"]) == (1.0, 1)
