"""What is certified of the router, and what it does on the split reported on.

A certificate is a promise about images like those of ``certify``; what is measured here is no proof of it,
but shows what it is worth, and could show that these images are other ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from router.certificates import FULL, Certificate, Certificates
from router.constraints import DELTA, LOSS, Constraints
from training.evaluation.comparison import Estimate
from training.evaluation.frontier import Floats
from training.evaluation.resampling import image_counts

if TYPE_CHECKING:
    from training.report.inputs import Inputs

ASKED = "accuracy_drop"
"""Name of the policy at the accuracy drop that was asked for, and its role."""


@dataclass(frozen=True)
class Certified:
    """One certificate on the split reported on: means over images, as its own are.

    loss: of what it bounds, against the full scale. saved: share of the full scale's visual tokens.
    """

    certificate: Certificate
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
    what = f"a {loss} of {asked.accuracy_drop:g} (delta {delta:g})"
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

    Empty without certificates. Those that hold nothing but the full scale are left out.
    """
    router, predictions, table = inputs.router, inputs.predictions, inputs.table
    if router is None or predictions is None:
        return ()
    delta = (inputs.asked and inputs.asked.delta) or DELTA
    whole = [c for c in router.bundle.certificates.accuracy if not c.group and c.delta <= delta]
    nearest = max((c.delta for c in whole), default=delta)
    shown = [(c, c.setting) for c in whole if c.delta == nearest and c.setting is not None]
    if not shown:
        return ()
    from training.certificates.replay import Replay  # with it come the libraries that routers are fitted by

    path = (FULL, *dict.fromkeys(setting for _, setting in shown))
    replay = Replay.of(router, predictions, table, path)
    tokens = replay.image_tokens()
    losses = {loss: replay.losses(loss) for loss in {c.loss for c, _ in shown}}
    found = []
    for certificate, setting in shown:
        k = path.index(setting)
        columns = np.stack([losses[certificate.loss][:, k], tokens[:, k], tokens[:, 0]], axis=1)
        found.append(_of(certificate, columns, draws, seed))
    return tuple(found)


def _of(certificate: Certificate, columns: Floats, draws: int, seed: int) -> Certified:
    """columns: [m, 3] loss, tokens and the full scale's tokens by image."""
    images = len(columns)
    means = columns.mean(axis=0)
    blocks: Sequence[Floats] = [counts @ columns / images for counts in image_counts(images, draws, seed)]
    drawn = np.concatenate(blocks)
    return Certified(
        certificate,
        Estimate.of(means[0], drawn[:, 0]),
        Estimate.of(means[1], drawn[:, 1]),
        Estimate.of(1 - means[1] / means[2], 1 - drawn[:, 1] / drawn[:, 2]),
    )
