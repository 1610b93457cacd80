"""A run that shares pictures, tower and features with another: a second language model on one tower."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from training.backbone.recipe import Recipe

_SHARED = ("tokenizer.model", "tower.pt", "train", "val")


def recipe_of(run: Path, **changes: Any) -> Recipe:
    """The recipe of a run folder, with ``changes``. ValueError where there is none that can be read."""
    try:
        told = json.loads((run / "recipe.json").read_text(encoding="utf-8"))
        known = {field.name for field in fields(Recipe)}
        values: dict[str, Any] = {name: value for name, value in told.items() if name in known} | changes
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return Recipe(**(values | lists))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"'{run}' has no recipe.json of a run ({error}).") from None


def share(run: Path, other: Path) -> None:
    """Links ``other``'s pictures, tower and features into ``run``, which is made where it is missing.

    ValueError when they are not finished.
    """
    for split in ("train", "val"):
        if not (other / split / "features.done").exists():
            raise ValueError(
                f"'{other}' has no features of its pictures yet: finish its stage 'features' first."
            )
    run.mkdir(parents=True, exist_ok=True)
    for name in _SHARED:
        if not (run / name).exists():
            (run / name).symlink_to((other / name).resolve())
