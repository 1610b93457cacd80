"""A finished run folder -> the checkpoint in the official LLaVA-M3 layout, with its model card."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from m3_backbone.checkpoint import save_checkpoint
from m3_backbone.modules import M3Modules
from training.backbone import history
from training.backbone.language import load_language
from training.backbone.recipe import PREPROCESSOR, SCALES, Recipe
from training.backbone.tower import load_tower


def export(run: Path, folder: Path, modules: M3Modules, recipe: Recipe) -> int:
    """Writes ``folder``; returns the number of parameters stored.

    modules: freshly built; the run's weights are put into them. Raises FileNotFoundError when a stage
    has not run.
    """
    load_tower(run, modules)
    load_language(run, modules)
    save_checkpoint(
        folder,
        modules,
        recipe.config(),
        tower_config=recipe.tower_config(),
        preprocessor=PREPROCESSOR,
        tokenizer_model=run / "tokenizer.model",
    )
    parameters, metrics = sum(value.numel() for value in modules.parameters()), read_metrics(run)
    pieces = [*history.read(run, history.BEFORE), history.piece(metrics, recipe)]
    history.write(folder, pieces)
    card = model_card(recipe, parameters, metrics, pieces)
    (folder / "README.md").write_text(card, encoding="utf-8")
    return parameters


def read_metrics(run: Path) -> list[dict[str, Any]]:
    path = run / "metrics.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def model_card(
    recipe: Recipe, parameters: int, metrics: list[dict[str, Any]], pieces: Sequence[history.Piece]
) -> str:
    """Markdown: what it is, what it was trained on, and the last figures of metrics.jsonl."""
    starts = [row for row in metrics if row["stage"] == "start"]
    begun = "nothing"
    if starts:
        begun = f"the weights of another checkpoint (fingerprint {starts[-1]['fingerprint'][:12]})"
    lines = [
        "# m3-tiny",
        "",
        f"A Matryoshka multimodal model of {parameters / 1e6:.1f} M parameters, trained from {begun} by",
        "`m3-train backbone` on generated pictures (ScaleBench, split backbone-train) with the loss of M3",
        "(arXiv 2405.17430): the mean of the answer loss over all scales. It answers questions about such",
        "pictures and nothing else.",
        "",
    ]
    exams = [row for row in metrics if row["stage"] == "exam"]
    if exams:
        table = exams[-1]["accuracy"]
        lines += [
            "## Held-out accuracy (backbone-val, teacher-forced)",
            "",
            "| family | " + " | ".join(map(str, SCALES)) + " |",
            "|---|" + "---|" * len(SCALES),
        ]
        for name in sorted((n for n in table if "/" not in n), key=lambda name: (name != "all", name)):
            lines.append(f"| {name} | " + " | ".join(f"{table[name][str(s)]:.2f}" for s in SCALES) + " |")
        lines.append("")
    towers = [row for row in metrics if row["stage"] == "tower"]
    if towers and recipe.minutes_tower:  # else its heads were never trained
        lines += ["## Patches that the tower's pre-training heads name rightly", ""]
        lines += [f"- {head}: {value:.2f}" for head, value in towers[-1]["accuracy"].items()]
        lines.append("")
    lines += history.markdown(pieces)
    lines += [
        "## Recipe of the last piece",
        "",
        "```json",
        json.dumps(pieces[-1]["recipe"], indent=1),
        "```",
        "",
    ]
    return "\n".join(lines)
