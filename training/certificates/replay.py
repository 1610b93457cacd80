"""A router replayed over an outcome table at every setting of a path, its cascade's too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.records import OutcomeTable, RecordError
from router.certificates import Setting
from router.predictor import Predictions
from router.router import Router
from training.certificates.played import Played
from training.escalation.fit import replay
from training.evaluation.passes import Passes


@dataclass(frozen=True)
class Replay(Played):
    """path: the K settings; other fields as in `Played`."""

    path: tuple[Setting, ...]

    @classmethod
    def of(
        cls, router: Router, predictions: Predictions, table: OutcomeTable, path: Sequence[Setting]
    ) -> Replay:
        """With its fallback, as it is served; a setting with a threshold is one of the cascade.

        Raises `RecordError` for such a setting where the router has no second look.
        """
        look, novel = router.second_look, router.is_novel(predictions)
        cascades = any(setting.threshold is not None for setting in path)
        if cascades and look is None:
            raise RecordError("The bundle has no second look: fit it with --escalation.")
        hybrid = replay(look, table, predictions, novel) if cascades and look is not None else None
        optimism = 1.0 if look is None else look.escalation.optimism
        nothing = np.zeros(table.visual_tokens.shape, np.bool_)
        runs = [
            hybrid.passes(setting.price, optimism, setting.threshold)
            if hybrid is not None and setting.threshold is not None
            else Passes(router.play(predictions, table.visual_tokens, setting), nothing)
            for setting in path
        ]
        return cls(
            table=table,
            choices=np.stack([run.choice.astype(np.int8) for run in runs]),
            tokens=np.stack([run.tokens(table.visual_tokens) for run in runs]),
            path=tuple(path),
        )
