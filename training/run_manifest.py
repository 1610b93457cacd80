"""What a labelling run's manifest says: of what the labels are, how the data was asked, what was left out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from data.records import Sample
from data.sources.prompts import PROMPTS
from data.sources.skipped import Skipped
from m3_backbone.scales import Ladder
from m3_backbone.types import SUMMARY_VERSION
from training.shards import Group
from training.some_scales import KEY as BACKBONE_LADDER

if TYPE_CHECKING:
    from training.answering import Identity, Settings


def run_manifest(
    backbone: Identity, ladder: Ladder, samples: Sequence[Sample], settings: Settings
) -> dict[str, object]:
    """What makes labels of one run: another value in any of it is another run, and never mixed in."""

    def joined(values: Iterable[str]) -> str:
        return "+".join(dict.fromkeys(values))

    return {
        "backbone": backbone.name,
        "backbone_fingerprint": backbone.fingerprint,
        "ladder": list(ladder),
        **({} if ladder == backbone.ladder else {BACKBONE_LADDER: list(backbone.ladder)}),
        "summary_version": SUMMARY_VERSION,
        "dataset": joined(s.dataset for s in samples),
        "split": joined(s.split for s in samples),
        "metric": joined(s.metric for s in samples),
        "prompt": settings.prompt,
        "dtype": settings.dtype,
        "max_new_tokens": settings.max_new_tokens,
        **({} if settings.reducer == "average" else {"reducer": settings.reducer}),
        **({"compiled": True} if settings.compiled else {}),
        **({} if settings.engine == "torch" else {"engine": settings.engine}),
    }


def described_data(groups: Sequence[Group], skipped: Skipped | None) -> dict[str, object]:
    """How the whole data set was asked, and what its reader left out: for the manifest, if there is any."""
    names = sorted({s.prompt for group in groups for s in group if s.prompt})
    described: dict[str, object] = {}
    if names:
        described["question_prompts"] = {name: PROMPTS.get(name, "") for name in names}
    if skipped is not None and skipped.counts:
        described["left_out"] = dict(sorted(skipped.counts.items()))
    return described
