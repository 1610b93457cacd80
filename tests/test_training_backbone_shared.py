"""Runs that share pictures, tower and features."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.training_backbone import RECIPE
from training.backbone.shared import recipe_of, share


def finished(run: Path) -> Path:
    """What a run has left when its features are made."""
    for split in ("train", "val"):
        (run / split).mkdir(parents=True)
        (run / split / "features.done").write_text("")
    (run / "tower.pt").write_bytes(b"tower")
    (run / "tokenizer.model").write_bytes(b"pieces")
    (run / "recipe.json").write_text(json.dumps(asdict(RECIPE)), encoding="utf-8")
    return run


def test_a_recipe_comes_back_as_it_was_with_what_is_changed(tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    assert recipe_of(run) == RECIPE
    changed = recipe_of(run, minutes_phase2=3.0, phase2_shares=(0.0, 0.0, 1.0, 0.0, 0.0))
    assert (changed.minutes_phase2, changed.hidden) == (3.0, RECIPE.hidden)
    assert changed.phase2_shares == (0.0, 0.0, 1.0, 0.0, 0.0)


@pytest.mark.parametrize("text", [None, "[]", "{", '{"images": []'])
def test_a_folder_without_a_recipe_is_named(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "recipe.json").write_text(text)
    with pytest.raises(ValueError, match=r"has no recipe\.json of a run"):
        recipe_of(tmp_path)


def test_what_is_shared_is_linked_and_what_is_there_stays(tmp_path: Path) -> None:
    other, run = finished(tmp_path / "other"), tmp_path / "new" / "run"
    share(run, other)
    assert (run / "tower.pt").read_bytes() == b"tower"
    assert (run / "train" / "features.done").exists()
    assert not (run / "recipe.json").exists()
    share(run, other)


def test_a_run_without_features_cannot_be_shared(tmp_path: Path) -> None:
    other = finished(tmp_path / "other")
    (other / "val" / "features.done").unlink()
    with pytest.raises(ValueError, match="finish its stage 'features' first"):
        share(tmp_path / "run", other)
    assert not (tmp_path / "run").exists()
