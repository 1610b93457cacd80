"""How many questions the model answers at every scale: teacher-forced, every answer token the likeliest one.

Equal to greedy decoding being right, for one answer: the first wrong token fails both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from m3_backbone.modules import M3Modules
from training.backbone.decoder import Decoder, pool
from training.backbone.pictures import PictureStore
from training.backbone.sequences import Block, Blocks, collate


@dataclass(frozen=True)
class Exam:
    """Held-out questions of the first ``pictures`` pictures of a store, tokenised."""

    blocks: list[list[Block]]
    families: list[list[str]]
    kinds: list[list[str]]

    @classmethod
    def of(cls, store: PictureStore, blocks: Blocks, pictures: int) -> Exam:
        texts = store.texts[:pictures]
        return cls(
            [[blocks.block(q, a) for q, a, _ in text["questions"]] for text in texts],
            [[text["family"]] * len(text["questions"]) for text in texts],
            [[f"{text['family']}/{kind}" for _, _, kind in text["questions"]] for text in texts],
        )

    @torch.no_grad()
    def right(
        self, modules: M3Modules, decoder: Decoder, features: Tensor, opening: tuple[int, ...], scale: int
    ) -> list[bool]:
        """For every question in order: all its answer tokens are the likeliest."""
        verdicts: list[bool] = []
        for start in range(0, len(self.blocks), 10):
            part = self.blocks[start : start + 10]
            batch = collate(part)
            grid = modules.project(features[start : start + len(part)].to(decoder.words.dtype))
            logits = decoder.logits(decoder.prefix(opening, pool(grid, scale)), batch)
            wrong = torch.zeros(int(batch.group[-1]) + 1, dtype=torch.int64)
            wrong.index_add_(0, batch.group, (logits.argmax(-1) != batch.targets).long())
            verdicts += (wrong == 0).tolist()
        return verdicts

    def sit(
        self,
        modules: M3Modules,
        decoder: Decoder,
        features: Tensor,
        opening: tuple[int, ...],
        scales: Sequence[int],
    ) -> dict[str, dict[int, float]]:
        """Name ("all", families, family/kind) -> scale -> accuracy."""
        table: dict[str, dict[int, float]] = defaultdict(dict)
        labels = [
            ("all", family, kind)
            for families, kinds in zip(self.families, self.kinds, strict=True)
            for family, kind in zip(families, kinds, strict=True)
        ]
        for scale in scales:
            tally: dict[str, list[bool]] = defaultdict(list)
            for names, good in zip(
                labels, self.right(modules, decoder, features, opening, scale), strict=True
            ):
                for name in names:
                    tally[name].append(good)
            for name, values in tally.items():
                table[name][scale] = round(sum(values) / len(values), 4)
        return dict(table)


def as_text(table: dict[str, dict[int, float]], *, kinds: bool) -> str:
    """A table for people, one row per name; ``kinds`` adds the rows family/kind."""
    scales = list(table["all"])
    rows = ["".join((f"{'accuracy':24}", *(f"{scale:>7}" for scale in scales)))]
    for name in sorted(table, key=lambda name: (name != "all", name)):
        if kinds or "/" not in name:
            rows.append("".join((f"{name:24}", *(f"{table[name][scale]:7.2f}" for scale in scales))))
    return "\n".join(rows)
