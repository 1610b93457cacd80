"""The models that are compared: the same tower, from nothing, the same minutes; only the scales differ."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from training.backbone.recipe import SCALES
from training.backbone.shared import recipe_of, share
from training.backbone.stages import BackboneRun

FULL = SCALES[-1]


@dataclass(frozen=True)
class Model:
    """name: of its folder. trained: the scales it is trained at. asked: those it is judged at."""

    name: str
    trained: tuple[int, ...]
    asked: tuple[int, ...]

    @property
    def shares(self) -> tuple[float, ...]:
        """Of the steps, per scale: alike for all that it is trained at."""
        return tuple(float(scale in self.trained) for scale in SCALES)


MODELS = (
    Model("m3", SCALES, SCALES),
    *(Model(f"only-{scale}", (scale,), SCALES if scale == FULL else (scale,)) for scale in SCALES),
)
"""The model of the full scale alone is asked at every scale: that is pooling without training."""


def train(run: Path, model: Model, minutes: float, threads: int | None = None) -> Path:
    """The checkpoint of ``model`` on ``run``'s tower after ``minutes`` of training; at once where it is done.

    threads: of the CPU, as many as ``run`` had where None.

    Its folder is ``run``/one-scale/NAME. Raises `Interrupted` as any run does; the next call goes on.
    Raises ValueError where it was finished with other minutes: models of unequal budgets say nothing.
    """
    folder = run / "one-scale" / model.name
    own: dict[str, Any] = {} if threads is None else {"threads": threads}
    recipe = recipe_of(
        run,
        start="",  # weights that saw other scales would make neither a specialist nor untrained pooling
        rate_share=1.0,  # a run that begins with weights may have taken less
        minutes_phase1=0.0,
        minutes_phase2=minutes,
        phase1_shares=model.shares,
        phase2_shares=model.shares,
        **own,
    )
    share(folder, run)
    checkpoint = folder / "checkpoint"
    finished = (checkpoint / "README.md").exists()
    if finished and (had := recipe_of(folder).minutes_phase2) != minutes:
        raise ValueError(
            f"--minutes has value {minutes:g}. '{checkpoint}' was trained for {had:g}: take that, or delete "
            f"'{folder.parent}' to train all models anew."
        )
    (folder / "recipe.json").write_text(json.dumps(asdict(recipe), indent=1), encoding="utf-8")
    if not finished:
        backbone = BackboneRun(folder, recipe)
        backbone.run("language")
        backbone.run("export")
    return checkpoint
