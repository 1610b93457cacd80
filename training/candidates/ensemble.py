"""Trees and the attention network together: the mean of their calibrated logits.

Each column of each member is calibrated (Platt 1999) on what the member said of images that it was held out
from: a member that is too sure of itself would otherwise count for more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from router.features import NEEDS, Float32
from training.calibrate import fit_platt
from training.candidates.attention import Attention
from training.candidates.base import Examples, FittedLogits, Labels, Logits, head_labels, log_loss, settled
from training.candidates.lightgbm_embeddings import lightgbm_embeddings

if TYPE_CHECKING:
    from training.graph import GraphPart


class Member(Protocol):
    """A candidate that can be a member: fitted, it has logits."""

    @property
    def name(self) -> str: ...

    @property
    def groups(self) -> tuple[str, ...]: ...

    def fit(self, examples: Examples, *, seed: int, threads: int) -> FittedLogits: ...


@dataclass(frozen=True)
class MeanOfLogits:
    """Mean over M members of slope x logit + offset; other fields as in `Logits`.

    slopes, offsets: [M, C].
    """

    members: tuple[Logits, ...]
    slopes: Labels
    offsets: Labels
    sufficient: tuple[int, ...]
    score: tuple[int, ...]

    @property
    def flops(self) -> float:
        """The members', and 3 for each of their columns."""
        return sum(member.flops for member in self.members) + 3.0 * self.slopes.size

    def raw(self, features: Float32) -> Labels:
        """See `Logits.raw`."""
        each = [member.raw(features) for member in self.members]
        return mean_of_logits(each, self.slopes, self.offsets)

    def graph(self, width: int) -> GraphPart:
        """All members' parts, and their mean."""
        from training.graph import GraphBuilder

        build, n = GraphBuilder("mean"), len(self.members)
        parts = [member.graph(width) for member in self.members]
        terms = []
        for i, part in enumerate(parts):
            scaled = build.add("Mul", build.include(part, str(i)), (self.slopes[i] / n).astype(np.float32))
            terms.append(build.add("Add", scaled, (self.offsets[i] / n).astype(np.float32)))
        return build.part(build.add("Sum", *terms), " or ".join(part.remedy for part in parts))


def mean_of_logits(logits: list[Labels], slopes: Labels, offsets: Labels) -> Labels:
    """[n, C] of M logits [n, C], calibrated by slopes and offsets [M, C]."""
    calibrated = [slope * each + offset for each, slope, offset in zip(logits, slopes, offsets, strict=True)]
    mean: Labels = np.mean(calibrated, axis=0)
    return mean


@dataclass(frozen=True)
class MeanOfMembers:
    """The candidate. groups: of the features, all of which every member is given and reads."""

    name: str = "ensemble"
    groups: tuple[str, ...] = tuple(group for group in NEEDS if group != "products")
    members: tuple[Member, ...] = (lightgbm_embeddings(), Attention())

    def settled(self, notes: Mapping[str, Any], *, rounds: bool = False) -> MeanOfMembers:
        """See `training.candidates.base.Settling`. Members are calibrated on what they said of held-out
        images, so that they find their trees and epochs on folds in any case."""
        found = notes.get("members", {})
        members = [settled(member, found.get(member.name, {})) for member in self.members]
        return replace(self, members=tuple(cast(Member, member) for member in members))

    @property
    def parts(self) -> tuple[Member, ...]:
        return self.members

    def fit(self, examples: Examples, *, seed: int, threads: int) -> FittedLogits:
        """Fit every member on everything, calibrate it on what it said of images held out."""
        fitted = [member.fit(examples, seed=seed, threads=threads) for member in self.members]
        return self.fit_from(examples, fitted, seed=seed, threads=threads)

    def fit_from(
        self, examples: Examples, fitted: Sequence[FittedLogits], *, seed: int, threads: int
    ) -> FittedLogits:
        """See `training.candidates.base.Composed`."""
        labels, shared = head_labels(examples)
        maps = [
            [fit_platt(1 / (1 + np.exp(-each.held_out[:, c])), labels[:, c]) for c in range(labels.shape[1])]
            for each in fitted
        ]
        slopes = np.array([[platt.slope for platt in row] for row in maps])
        offsets = np.array([[platt.offset for platt in row] for row in maps])
        held_out = mean_of_logits([each.held_out for each in fitted], slopes, offsets)
        p = 1 / (1 + np.exp(-held_out))
        first = fitted[0].logits
        notes: dict[str, Any] = {
            "members": {
                member.name: {**each.notes, "slopes": slopes[i].tolist(), "offsets": offsets[i].tolist()}
                for i, (member, each) in enumerate(zip(self.members, fitted, strict=True))
            },
            "held_out_log_loss": [round(log_loss(labels[:, c], p[:, c]), 5) for c in range(labels.shape[1])],
            "heads_shared": shared,
        }
        logits = MeanOfLogits(
            tuple(each.logits for each in fitted), slopes, offsets, first.sufficient, first.score
        )
        return FittedLogits(logits, held_out, notes)
