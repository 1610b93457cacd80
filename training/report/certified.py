"""What is certified of the router, and what it does on the split reported on.

A certificate is a promise about images like those of ``certify``; what is measured here is no proof of it,
but shows what it is worth, and could show that these images are other ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from router.certificates import FULL, Certificate, Certificates
from router.constraints import DELTA, LOSS, Constraints
from training.evaluation.comparison import Estimate
from training.evaluation.resampling import image_counts

if TYPE_CHECKING:
    from training.report.inputs import Inputs

ASKED = "accuracy_drop"
"""Name of the policy at the accuracy drop that was asked for, and its role."""


@dataclass(frozen=True)
class Certified:
    """One certificate on the split reported on: means over images, as its own are.

    cascade: whether answers are thought over. loss: of what it bounds, against the full scale. saved: share
    of the full scale's visual tokens.
    """

    certificate: Certificate
    cascade: bool
    loss: Estimate
    visual_tokens: Estimate
    saved: Estimate

    @property
    def broken(self) -> bool:
        """Whether the loss on this split is above epsilon, its interval too."""
        return self.loss.low > self.certificate.epsilon


def covering(certificates: Certificates, asked: Constraints) -> Certificate:
    """The certificate that a request like ``asked`` gets. Raises ValueError where that is the full scale."""
    assert asked.accuracy_drop is not None
    loss, delta = asked.loss or LOSS, asked.delta or DELTA
    what = f"an accuracy drop of {asked.accuracy_drop:g} (loss {loss}, delta {delta:g})"
    found = certificates.covering(loss, asked.accuracy_drop, delta)
    if found is None:
        there = sorted({f"{c.loss} {c.epsilon:g}" for c in certificates.accuracy if not c.group})
        raise ValueError(
            f"The bundle has no certificate that covers {what}. "
            + (f"It has: {', '.join(there)}." if there else "`m3-train certify` makes some.")
        )
    if found.setting is None:
        raise ValueError(
            f"Nothing cheaper than the full scale passed for {what} on {found.n_images} images: allow more."
        )
    return found


def certified(inputs: Inputs, *, draws: int, seed: int) -> tuple[Certified, ...]:
    """Of all families together, at one delta: that which was asked for, else `router.constraints.DELTA`.

    Those of one pass first. Empty without certificates. Those that hold nothing but the full scale are left
    out, and those of cascades where the table has no confidences.
    """
    router, predictions, table = inputs.router, inputs.predictions, inputs.table
    if router is None or predictions is None:
        return ()
    delta = (inputs.asked and inputs.asked.delta) or DELTA
    known = [(c, False) for c in router.bundle.certificates.accuracy]
    if table.manifest.get("confidences") != "none":
        known += [(c, True) for c in router.bundle.certificates.cascade]
    whole = [(c, cascade) for c, cascade in known if not c.group and c.delta <= delta]
    nearest = max((c.delta for c, _ in whole), default=delta)
    shown = [(c, cascade) for c, cascade in whole if c.delta == nearest and c.setting is not None]
    if not shown:
        return ()
    from training.certificates.replay import Replay  # with it come the libraries that routers are fitted by

    path = (FULL, *dict.fromkeys(c.setting for c, _ in shown if c.setting is not None))
    replay = Replay.of(router, predictions, table, path)
    tokens = replay.image_tokens()
    losses = {loss: replay.losses(loss) for loss in {c.loss for c, _ in shown}}
    at = [path.index(certificate.setting or FULL) for certificate, _ in shown]
    lost = np.stack([losses[c.loss][:, k] for (c, _), k in zip(shown, at, strict=True)], axis=1)
    columns = np.concatenate([lost, tokens[:, at], tokens[:, :1]], axis=1)
    images, n = len(columns), len(shown)
    drawn = np.concatenate([counts @ columns / images for counts in image_counts(images, draws, seed)])
    means = columns.mean(axis=0)
    return tuple(
        Certified(
            certificate,
            cascade,
            loss=Estimate.of(means[k], drawn[:, k]),
            visual_tokens=Estimate.of(means[n + k], drawn[:, n + k]),
            saved=Estimate.of(1 - means[n + k] / means[-1], 1 - drawn[:, n + k] / drawn[:, -1]),
        )
        for k, (certificate, cascade) in enumerate(shown)
    )
