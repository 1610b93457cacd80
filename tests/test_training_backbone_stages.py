from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from m3_backbone import GenerationRequest, load_backbone
from m3_backbone.checkpoint import load_checkpoint
from m3_backbone.modules import build_modules
from tests.training_backbone import (
    RECIPE,
    machine_as_it_was,
    random_modules,
    recipe,
    served,
    tokenizer_model,
)
from training.backbone import history, language, tower
from training.backbone.export import export, model_card
from training.backbone.features import open_features
from training.backbone.pictures import PictureStore, render_pictures
from training.backbone.progress import Interrupted, rate_at, restore
from training.backbone.recipe import GRID, SCALES
from training.backbone.stages import STAGES, BackboneRun


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with tokenizer and pictures."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "tokenizer.model").write_bytes(tokenizer_model())
    render_pictures(folder / "val", "backbone-val", RECIPE.val_images, RECIPE)
    render_pictures(folder / "train", "backbone-train", RECIPE.images, RECIPE)
    return folder


def interrupting(module: Any, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """A Ctrl-C in the middle of step ``step`` of a stage."""
    steps = 0

    def rate(share: float, *, peak: float, warm_up: float, final: float) -> float:
        nonlocal steps
        steps += 1
        if steps == step:
            signal.raise_signal(signal.SIGINT)
        return rate_at(share, peak=peak, warm_up=warm_up, final=final)

    monkeypatch.setattr(module, "rate_at", rate)


def test_a_run_stopped_by_ctrl_c_goes_on_where_it_was_and_exports(
    drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with machine_as_it_was():
        with monkeypatch.context() as patch:
            interrupting(tower, patch, 2)
            with pytest.raises(Interrupted, match="stopped in the tower stage at step 2"):
                BackboneRun(drawn, recipe(minutes_tower=10.0)).run("tower")
        stopped = restore(drawn / "tower.pt")
        assert stopped is not None
        assert (stopped["step"], stopped["done"]) == (2, False)
        assert 0 < stopped["consumed"] < 600
        used = stopped["consumed"] / 60

        with pytest.raises(FileNotFoundError, match="run the stage 'features' first"):
            open_features(drawn / "train", RECIPE.images, RECIPE.tower_width)
        BackboneRun(drawn, recipe(minutes_tower=used + 0.03)).run("tower")
        finished = restore(drawn / "tower.pt")
        assert finished is not None
        assert finished["done"]
        assert finished["step"] > 2
        assert finished["consumed"] > stopped["consumed"]
        BackboneRun(drawn, recipe(minutes_tower=used + 0.03)).run("tower")  # done: nothing happens
        again = restore(drawn / "tower.pt")
        assert again is not None
        assert again["step"] == finished["step"]

        BackboneRun(drawn, RECIPE).run("features")
        made = open_features(drawn / "val", RECIPE.val_images, RECIPE.tower_width)
        assert made.shape == (RECIPE.val_images, GRID * GRID, RECIPE.tower_width)
        assert bool(torch.isfinite(made.float()).all())
        assert bool(made.float().std() > 0)

        with monkeypatch.context() as patch:
            interrupting(language, patch, 1)
            with pytest.raises(Interrupted, match="stopped in the language stage at step 1"):
                BackboneRun(drawn, recipe(minutes_phase1=10.0)).run("language")
        state = restore(drawn / "language.pt")
        assert state is not None
        short = recipe(minutes_phase1=state["consumed"] / 120, minutes_phase2=state["consumed"] / 120 + 0.04)
        BackboneRun(drawn, short).run("language")
        done = restore(drawn / "language.pt")
        assert done is not None
        assert done["done"]
        assert done["step"] > state["step"]
        BackboneRun(drawn, short).run("export")

    rows = [json.loads(line) for line in (drawn / "metrics.jsonl").read_text("utf-8").splitlines()]
    exam = [row for row in rows if row["stage"] == "exam"][-1]
    assert list(exam["accuracy"]["all"]) == [str(scale) for scale in SCALES]
    check_checkpoint(drawn / "checkpoint", drawn)


@pytest.mark.parametrize("alone", [1.1, 0.0])
def test_new_heads_learn_before_a_tower_that_sees_already(drawn: Path, tmp_path: Path, alone: float) -> None:
    served(tmp_path, random_modules())
    run = tmp_path / "run"
    run.mkdir()
    for name in ("tokenizer.model", "train", "val"):
        (run / name).symlink_to(drawn / name)
    begun = recipe(start=str(tmp_path / "checkpoint"), heads_alone=alone, minutes_tower=3 / 60)
    with machine_as_it_was():
        BackboneRun(run, begun).run("tower")
    state = restore(run / "tower.pt")
    assert state is not None
    assert state["step"] > 2
    own = dict(load_checkpoint(tmp_path / "checkpoint").modules.tower.named_parameters())
    turned = [
        1 - float(torch.cosine_similarity(value.flatten(), own[name.removeprefix("tower.")].flatten(), 0))
        for name, value in state["optimiser"]["masters"].items()
        if name.startswith("tower.") and value.ndim == 2
    ]
    assert (max(turned) < 1e-5) == (alone > 1)  # weight decay alone shortens, it does not turn
    assert float(state["optimiser"]["masters"]["heads.linear.weight"].std()) > 0


def check_checkpoint(folder: Path, run: Path) -> None:
    """It loads, answers at every scale, and holds the run's weights."""
    model = load_backbone(folder)
    assert model.ladder.scales == SCALES
    assert model.conversation == "m3_tiny"
    store = PictureStore.open(run / "val")
    image = model.encode_image(Image.fromarray(store.pixels[0]))
    question = store.texts[0]["questions"][0][0]
    answers = model.generate(
        [GenerationRequest((question,), ((image, scale),), max_new_tokens=4) for scale in SCALES]
    )
    assert [answer.visual_tokens for answer in answers] == list(SCALES)
    state = restore(run / "language.pt")
    assert state is not None
    masters = state["optimiser"]["masters"]
    stored = dict(model.model.named_parameters())
    name = "language_model.lm_head.weight"
    assert torch.equal(stored[name], masters[name].to(torch.bfloat16).float())
    card = (folder / "README.md").read_text("utf-8")
    assert "| all |" in card
    assert str(run) not in card


def test_an_unknown_stage_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no stage 'towers'. Stages: tokenizer, pictures, tower.*all\."):
        BackboneRun(tmp_path, RECIPE).run("towers")


def test_a_stage_without_the_one_before_says_which_to_run(tmp_path: Path) -> None:
    with machine_as_it_was():
        with pytest.raises(FileNotFoundError, match="run the stage 'pictures' first"):
            BackboneRun(tmp_path, RECIPE).run("tower")
        with pytest.raises(FileNotFoundError, match="run the stage 'tower' first"):
            BackboneRun(tmp_path, RECIPE).run("features")
    modules = build_modules(RECIPE.config(), RECIPE.tower_config())
    with pytest.raises(FileNotFoundError, match="run the stage 'tower' first"):
        export(tmp_path, tmp_path / "checkpoint", modules, RECIPE)


def test_a_card_without_metrics_has_the_recipe_alone() -> None:
    card = model_card(RECIPE, 1_000_000, [], [history.piece([], RECIPE)])
    assert "1.0 M parameters" in card
    assert "Held-out" not in card
    assert '"vocabulary": 640' in card


def test_a_run_can_draw_pictures_that_no_run_before_has_seen(tmp_path: Path) -> None:
    for folder, first, count in (("all", 0, 4), ("last", 2, 2)):
        render_pictures(tmp_path / folder, "backbone-train", count, RECIPE, first=first)
    both, last = PictureStore.open(tmp_path / "all"), PictureStore.open(tmp_path / "last")
    assert last.texts == both.texts[2:] != both.texts[:2]
    assert (last.pixels == both.pixels[2:]).all()


def test_a_card_tells_of_a_towers_heads_only_where_they_were_trained() -> None:
    rows = [{"stage": "tower", "accuracy": {"word": 0.9}}]
    pieces = [history.piece([], RECIPE)]
    assert "- word: 0.90" in model_card(recipe(minutes_tower=1.0), 1_000_000, rows, pieces)
    card = model_card(recipe(minutes_tower=0.0), 1_000_000, rows, pieces)
    assert "word" not in card.partition("## Recipe")[0]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_all_stages_from_nothing_end_in_a_checkpoint(tmp_path: Path) -> None:
    short = recipe(minutes_tower=0.1, minutes_phase1=0.1, minutes_phase2=0.1, vocabulary=1000)
    with machine_as_it_was():
        BackboneRun(tmp_path, short).run()
    check_checkpoint(tmp_path / "checkpoint", tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert {"tower", "exam"} <= {row["stage"] for row in rows}
    assert set(STAGES) == {"tokenizer", "pictures", "tower", "features", "language", "export"}
