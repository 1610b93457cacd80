"""All of the comparison: six models, their outcome tables, the page."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from data.records import OutcomeTable
from data.sources import Skipped, load
from m3_backbone import load_backbone
from training.backbone.progress import restore
from training.label import Settings, label
from training.one_scale.comparison import compare
from training.one_scale.models import MODELS, Model, train
from training.one_scale.page import write_page
from training.report.provenance import commit

log = logging.getLogger(__name__)


def make(
    run: Path,
    out: Path,
    *,
    minutes: float,
    dataset: str,
    limit: int | None,
    seed: int,
    threads: int | None = None,
    models: Sequence[Model] = MODELS,
) -> tuple[Path, ...]:
    """Trains and labels what is not there yet, then writes the page into ``out``; returns the files written.

    Raises ValueError for a run that cannot be shared or a data set that cannot be read, `Interrupted` when
    asked to stop while training.
    """
    tables, steps = {}, {}
    for model in models:
        log.info("%s: trained at %s", model.name, ", ".join(map(str, model.trained)))
        checkpoint = train(run, model, minutes, threads)
        tables[model.name] = _table(
            checkpoint, run / "one-scale" / "tables" / model.name, model, dataset, limit
        )
        state = restore(checkpoint.parent / "language.pt")
        assert state is not None, "an exported run has its weights"
        steps[model.name] = int(state["step"])
    first = tables["m3"]
    head, _ = commit()
    provenance = {
        "command": f"m3-train one-scale --minutes {minutes:g} --dataset {dataset}"
        + (f" --limit {limit}" if limit else "")
        + (f" --seed {seed}" if seed else ""),
        "commit": head,
        "dataset": dataset,
        "questions": len(first),
        "images": len(first.image_ids),
        "minutes": minutes,
        "steps": steps,
        "backbones": {name: table.backbone_fingerprint for name, table in tables.items()},
        "seed": seed,
    }
    return write_page(compare(tables, seed=seed), out, provenance)


def _table(checkpoint: Path, folder: Path, model: Model, dataset: str, limit: int | None) -> OutcomeTable:
    backbone = load_backbone(checkpoint)
    scales = None if len(model.asked) == len(backbone.ladder) else model.asked
    samples = load(dataset, None, limit, Skipped())
    return label(backbone, samples, folder, Settings(prompt=backbone.conversation, scales=scales))
