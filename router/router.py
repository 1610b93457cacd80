"""The router: features + predictor + calibration + policy, loaded from a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from m3_backbone.scales import Ladder
from m3_backbone.types import Generation, RouteInputs
from router import calibration
from router.bundle import Bundle
from router.certificates import Setting
from router.constraints import Constraints
from router.errors import BundleMismatch, PredictorError
from router.escalation import SecondLook
from router.features import Float32
from router.instructions import instruction_of
from router.passes import alone, cascades, first_certificates, first_look, reconsider
from router.policy import Decision, Index, choose, decide, spend
from router.predictor import OnnxPredictor, Predictions, Predictor

ANYTHING = Constraints()


@dataclass(frozen=True)
class Router:
    """Chooses a scale for each request. Immutable, and safe to share between threads."""

    bundle: Bundle
    predictor: Predictor
    second_look: SecondLook | None = None

    @classmethod
    def load(cls, path: Path | str, backbone_fingerprint: str | None = None, *, threads: int = 1) -> Router:
        """The router of the bundle at ``path``.

        backbone_fingerprint: of the backbone that will serve; `BundleMismatch` unless the bundle was made
        for it. None skips that check. Raises `BundleError`, `BundleCorrupt`.
        """
        bundle = Bundle.load(Path(path))
        if backbone_fingerprint is not None:
            bundle.check_backbone(backbone_fingerprint)
        return cls.of(bundle, threads=threads)

    @classmethod
    def of(cls, bundle: Bundle, *, threads: int = 1) -> Router:
        """The router of a bundle in memory."""
        predictor = OnnxPredictor(
            bundle.onnx, n_features=bundle.features.width, n_scales=len(bundle.ladder), threads=threads
        )
        second = bundle.escalation
        look = None if second is None else SecondLook(second, len(bundle.ladder), threads=threads)
        return cls(bundle, predictor, look)

    @property
    def version(self) -> str:
        return self.bundle.version

    @property
    def ladder(self) -> Ladder:
        return self.bundle.ladder

    def route(self, inputs: RouteInputs, constraints: Constraints | None = None) -> Decision:
        """The scale for one request, which is answered at that scale.

        Falls back to the largest scale allowed when the image is unlike those of training or the predictor
        fails. Of a cascade this is the first decision, and not certified, for only the whole path is: `first`
        and `reconsider` make that. Raises `ConstraintError` when no scale meets ``constraints`` or the bundle
        cannot do what they ask for, `BundleMismatch` when the inputs are of another backbone.
        """
        return alone(self.first(inputs, constraints))

    def first(self, inputs: RouteInputs, constraints: Constraints | None = None) -> Decision:
        """`route` for who has every answer thought over by `reconsider`: of a cascade certified if the whole
        path is."""
        asked = self._told(ANYTHING if constraints is None else constraints, inputs)
        first = first_look(asked, self.bundle.escalation)
        if inputs.ladder != self.ladder:
            raise BundleMismatch(
                f"The request comes from a backbone with ladder {list(inputs.ladder)}, the bundle was made "
                f"for {list(self.ladder)}: choose the bundle fitted on its outcomes."
            )
        fallback: str | None = None
        predictions: Predictions | None = None
        try:
            predictions = self.predict(self.bundle.features.vector(inputs)[None])
        except PredictorError as err:
            fallback = f"the predictor failed ({err.message})"
        else:
            if self.is_novel(predictions)[0]:
                fallback = (
                    f"the image is unlike those the router knows (novelty {predictions.novelty[0]:.4g} "
                    f"above {self.bundle.novelty_threshold:.4g})"
                )
        decision = decide(
            predictions,
            inputs.visual_tokens,
            self.ladder,
            first,
            self.bundle.prices,
            fallback=fallback,
            certificates=first_certificates(asked, self.bundle.certificates, self.bundle.escalation),
        )
        if not cascades(asked):
            return decision
        return replace(decision, policy="cascade", reason=f"first pass of a cascade: {decision.reason}")

    def reconsider(
        self,
        decision: Decision,
        generation: Generation,
        inputs: RouteInputs,
        constraints: Constraints,
        tried: Sequence[int] = (),
    ) -> Decision:
        """What follows ``decision`` now that its answer is there; ``decision`` itself: the answer stays.

        decision: of `first`, or of the `reconsider` before. tried: the scales before that one. Raises
        `PredictorError`.
        """
        return reconsider(
            decision,
            generation,
            self._told(constraints, inputs),
            self.ladder,
            inputs.visual_tokens,
            self.second_look,
            tried,
            self.bundle.certificates,
        )

    def _told(self, constraints: Constraints, inputs: RouteInputs) -> Constraints:
        """The constraints with the kind of the prompt, where they ask for what is certified of some kinds."""
        promised = constraints.accuracy_drop is not None or constraints.delta is not None
        if not promised or self.bundle.certificates.instructions is None:
            return constraints
        return replace(constraints, instruction=instruction_of(inputs.question_text))

    def predict(self, features: Float32) -> Predictions:
        """Calibrated predictions for float32 [n, F]. Raises `PredictorError`."""
        raw = self.predictor.predict(features)
        return Predictions(
            sufficient=calibration.apply(self.bundle.calibration.sufficient, raw.sufficient),
            score=calibration.apply(self.bundle.calibration.score, raw.score),
            novelty=raw.novelty,
        )

    def is_novel(self, predictions: Predictions) -> NDArray[np.bool_]:
        """Which of n requests fall back for novelty [n]."""
        threshold = self.bundle.novelty_threshold
        if threshold is None:
            return np.zeros(len(predictions.novelty), dtype=np.bool_)
        return predictions.novelty > threshold

    def replay(
        self, predictions: Predictions, visual_tokens: NDArray[np.integer], constraints: Constraints
    ) -> Index:
        """What `route` would choose for n requests at once, as indices on the ladder [n].

        predictions: of `predict`; made once, then replayed under many constraints. visual_tokens: [n, S].
        """
        return choose(
            predictions.score,
            visual_tokens,
            self.ladder,
            constraints,
            self.bundle.prices,
            fallback=self.is_novel(predictions),
            certificates=self.bundle.certificates,
        )

    def play(self, predictions: Predictions, visual_tokens: NDArray[np.integer], setting: Setting) -> Index:
        """What `route` would choose for n requests if ``setting`` were certified and asked for [n].

        Without the threshold of a cascade, which does not choose the first scale. visual_tokens: [n, S].
        """
        tokens = visual_tokens.astype(np.float64)
        return spend(predictions.score, tokens, setting.price, fallback=self.is_novel(predictions))
