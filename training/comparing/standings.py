"""Where every candidate stands against the main one: at the token levels, and over its whole frontier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from training.comparing.bands import simultaneous
from training.comparing.fits import Fit
from training.comparing.scorer import FIXED, Scorer
from training.comparing.seeds import Averaged
from training.evaluate import Evaluation
from training.evaluation.comparison import HULL, Estimate
from training.evaluation.frontier import Floats
from training.evaluation.results import PolicyResult


@dataclass(frozen=True)
class Standing:
    """One candidate. accuracy: at each level, [Q]; line, area: as in `training.comparing.scorer.Read`.

    over: area minus the main candidate's, and band: accuracy minus its, simultaneous over the levels; None
    for the main candidate. settings: role -> the setting that tune chose for it. seeds, seconds: of its fits;
    empty and 0 for fixed scales. charge: FLOPs per request of routing itself.
    """

    name: str
    accuracy: Averaged
    line: Floats
    area: Averaged
    over: Estimate | None
    band: tuple[Estimate, ...] | None
    settings: Mapping[str, PolicyResult]
    seeds: tuple[int, ...] = ()
    seconds: float = 0.0
    charge: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Standings:
    """All that are compared, the largest area first. main: the one that differences are to."""

    evaluation: Evaluation
    main: str
    levels: tuple[float, ...]
    range: tuple[float, float]
    line_tokens: Floats
    rows: tuple[Standing, ...]

    def of(self, name: str) -> Standing:
        return next(row for row in self.rows if row.name == name)


def standings(scorer: Scorer, fits: Mapping[str, Sequence[Fit]], main: str) -> Standings:
    """fits: name -> one per seed. Fixed scales and their hull are added. Raises KeyError without ``main``."""
    reads = {HULL: scorer.hull(), FIXED: scorer.fixed()} | {
        name: scorer.read(ones) for name, ones in fits.items()
    }
    mine = reads[main]
    rows = []
    for name, read in reads.items():
        ones = fits.get(name, ())
        rows.append(
            Standing(
                name=name,
                accuracy=read.accuracy,
                line=read.line,
                area=read.area,
                over=None if name == main else (read.area - mine.area).estimate(),
                band=None if name == main else _band(read.accuracy - mine.accuracy),
                settings=read.settings,
                seeds=tuple(fit.about.seed for fit in ones),
                seconds=ones[0].about.seconds if ones else 0.0,  # the others' search was spared
                charge=dict(ones[0].path.charge) if ones else None,
            )
        )
    rows.sort(key=lambda row: -float(row.area.value))
    levels = tuple(scorer.levels.tolist())
    return Standings(scorer.evaluation, main, levels, scorer.range, scorer.line_tokens, tuple(rows))


def _band(difference: Averaged) -> tuple[Estimate, ...]:
    return simultaneous(difference.value, difference.draws)
