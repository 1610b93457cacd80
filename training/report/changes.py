"""Two reports compared: what changed from A to B, and whether it is more than chance.

Where both reports hold the same images of one split, differences have 95% intervals from a paired
bootstrap: each resample draws images with replacement, and the same ones for both reports.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.evaluation.comparison import Estimate
from training.evaluation.frontier import Floats
from training.evaluation.resampling import image_counts
from training.report.paired import ORACLE, ROUTER
from training.report.tables import Sheet, Value
from training.report.words import number, percent, percent_range, points, points_range

NAME = "report.json"
_NEEDED = ("n", "n_images", "split", "fixed", "oracle", "policies", "provenance")


class ReportError(ValueError):
    """A file that is no report of ours; the message names it and the remedy."""


@dataclass(frozen=True)
class Change:
    """One figure in both reports. difference: B - A, its interval NaN where it could not be paired.

    share: a share or a score, shown in percent and points; else a number of tokens or the like, whose
    ``difference`` is relative: B / A - 1.
    """

    name: str
    before: float
    after: float
    difference: Estimate
    share: bool = True

    @property
    def verdict(self) -> str:
        """What the interval says in a word."""
        if math.isnan(self.difference.low):
            return "not tested"
        if self.difference.value == self.difference.low == self.difference.high == 0:
            return "equal"
        return {1: "higher", 0: "within noise", -1: "lower"}[self.difference.sign]


@dataclass(frozen=True)
class Comparison:
    """paired: images that the bootstrap is over; 0 where the reports have none in common.

    facts: what differs between the reports besides figures: (name, in A, in B).
    """

    changes: tuple[Change, ...]
    facts: tuple[tuple[str, str, str], ...]
    paired: int
    images: tuple[int, int]
    draws: int


def read_report(path: Path) -> dict[str, Any]:
    """The report in ``path``: a report.json, or the folder that holds one. Raises `ReportError`."""
    file = path / NAME if path.is_dir() else path
    try:
        content = json.loads(file.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise ReportError(
            f"{file} cannot be read ({error.strerror}): `m3-train report` writes one."
        ) from None
    except (ValueError, RecursionError) as error:
        raise ReportError(f"{file} is not JSON ({error}): give a {NAME} of `m3-train report`.") from None
    missing = [key for key in _NEEDED if key not in content] if isinstance(content, dict) else list(_NEEDED)
    if missing:
        raise ReportError(f"{file} has no {missing[0]!r}: it is no report of `m3-train report`.")
    found: dict[str, Any] = content
    return found


def compare(a: Mapping[str, Any], b: Mapping[str, Any], *, draws: int = 1000, seed: int = 0) -> Comparison:
    """a, b: contents of two report.json. Raises `ReportError` where one lacks what a report has."""
    try:
        return _compare(a, b, draws, seed)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ReportError(
            f"One of the reports is damaged ({type(error).__name__}: {error}): make it again, "
            "with `m3-train report`."
        ) from None


def _compare(a: Mapping[str, Any], b: Mapping[str, Any], draws: int, seed: int) -> Comparison:
    pair = _Pair.of(a, b, draws, seed)
    changes = []
    for name in [f"fixed {scale}" for scale in a["fixed"] if scale in b["fixed"]]:
        scale = name.removeprefix("fixed ")
        before, after = (r["fixed"][scale]["accuracy"] for r in (a, b))
        changes.append(pair.change(f"{name}, accuracy", before, after, "score", name))
    changes.append(
        pair.change("oracle, accuracy", a["oracle"]["accuracy"], b["oracle"]["accuracy"], "score", ORACLE)
    )
    spent, spends = (_at(r, "oracle", "none_sufficient", "smallest", "visual_tokens") for r in (a, b))
    changes.append(pair.change("oracle, visual tokens", spent, spends, "visual_tokens", ORACLE))
    if a.get("operating_point") and b.get("operating_point"):
        p, q = a["operating_point"], b["operating_point"]
        changes += [
            pair.change("router, accuracy", p["accuracy"], q["accuracy"], "score", ROUTER),
            pair.change(
                "router, visual tokens", p["visual_tokens"], q["visual_tokens"], "visual_tokens", ROUTER
            ),
        ]
    for title, keys, share in _UNTESTED:
        before, after = _at(a, *keys), _at(b, *keys)
        if math.isfinite(before) and math.isfinite(after):
            changes.append(Change(title, before, after, _difference(before, after, share), share))
    return Comparison(
        changes=tuple(changes),
        facts=tuple((name, x, y) for name, keys in _FACTS if (x := _told(a, keys)) != (y := _told(b, keys))),
        paired=pair.images,
        images=(int(a["n_images"]), int(b["n_images"])),
        draws=draws,
    )


_UNTESTED: tuple[tuple[str, tuple[str, ...], bool], ...] = (
    ("router, FLOPs at 7B", ("operating_point", "flops_7b"), False),
    ("router, token headroom captured", ("operating_point", "token_headroom_captured"), True),
    ("router over the hull, mean over log tokens", ("mean_gain", "over", "fixed hull", "value"), True),
    ("router over the lookup, mean over log tokens", ("mean_gain", "over", "lookup", "value"), True),
    ("reachable oracle, accuracy", ("reachable_oracle", "accuracy", "value"), True),
    ("scale matters, share", ("zones", "scale-matters"), True),
)
_FACTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("data set", ("dataset",)),
    ("split", ("split",)),
    ("questions", ("n",)),
    ("best fixed scale", ("best_fixed_scale",)),
    ("headroom up to", ("oracle_kind",)),
    ("replicates", ("reachable_oracle", "replicates")),
    ("commit", ("provenance", "commit")),
    ("backbone", ("provenance", "backbone_fingerprint")),
    ("router", ("provenance", "bundle", "version")),
    ("outcomes", ("provenance", "outcomes")),
    ("command", ("provenance", "command")),
)


@dataclass(frozen=True)
class _Pair:
    """Means over the images common to both reports: (side, layer, policy) -> (mean, its resamples [B])."""

    images: int
    means: Mapping[tuple[int, str, str], tuple[float, Floats]]

    @classmethod
    def of(cls, a: Mapping[str, Any], b: Mapping[str, Any], draws: int, seed: int) -> _Pair:
        one, two = a.get("per_image"), b.get("per_image")
        if not one or not two or (a["split"], a.get("dataset")) != (b["split"], b.get("dataset")):
            return cls(0, {})
        place = {name: i for i, name in enumerate(two["image"])}
        common = np.array([(i, place[n]) for i, n in enumerate(one["image"]) if n in place], np.int64)
        if not common.size:
            return cls(0, {})
        columns: dict[tuple[int, str, str], Floats] = {}
        for k, side in enumerate((one, two)):
            columns[k, "questions", ""] = np.asarray(side["questions"], np.float64)[common[:, k]]
            for layer in ("score", "visual_tokens"):
                for policy, sums in side[layer].items():
                    columns[k, layer, policy] = np.asarray(sums, np.float64)[common[:, k]]
        whole = np.stack(list(columns.values()), axis=1)
        drawn = np.concatenate([counts @ whole for counts in image_counts(len(common), draws, seed)])
        total, at = whole.sum(axis=0), {key: i for i, key in enumerate(columns)}
        means = {
            key: (float(total[i] / total[q]), drawn[:, i] / drawn[:, q])
            for key, i in at.items()
            for q in (at[key[0], "questions", ""],)
        }
        return cls(len(common), means)

    def change(self, name: str, before: float, after: float, layer: str, policy: str) -> Change:
        share = layer == "score"
        sides = [self.means.get((k, layer, policy)) for k in (0, 1)]
        if sides[0] is None or sides[1] is None:
            return Change(name, before, after, _difference(before, after, share), share)
        (old, old_draws), (new, new_draws) = sides[0], sides[1]
        if share:
            return Change(name, before, after, Estimate.of(new - old, new_draws - old_draws))
        if not (old and old_draws.all()):  # a share of nothing does not exist
            return Change(name, before, after, _difference(before, after, share), share)
        return Change(name, before, after, Estimate.of(new / old - 1, new_draws / old_draws - 1), share=False)


def _difference(before: float, after: float, share: bool) -> Estimate:
    nan = float("nan")
    value = after - before if share else after / before - 1 if before else nan
    return Estimate(value, nan, nan)


def _at(report: Any, *keys: str) -> float:
    """A number at a path of keys, NaN where there is none."""
    for key in keys:
        report = report.get(key) if isinstance(report, Mapping) else None
    return float(report) if isinstance(report, int | float) else float("nan")


def _told(report: Any, keys: tuple[str, ...]) -> str:
    for key in keys:
        report = report.get(key) if isinstance(report, Mapping) else None
    if isinstance(report, Mapping):
        hashes = (f"{name} {str(o.get('manifest_sha256', ''))[:12]}" for name, o in report.items())
        return ", ".join(hashes)
    return "–" if report is None else str(report)


def changes_sheet(c: Comparison) -> Sheet:
    """Every figure in both reports."""
    rows = []
    for change in c.changes:
        show = percent if change.share else number
        d = change.difference
        told = points(d.value) if change.share else percent(d.value)
        spread = points_range(d) if change.share else percent_range(d)
        tested = not math.isnan(d.low)
        rows.append(
            (
                Value(change.name),
                Value(show(change.before)),
                Value(show(change.after)),
                Value(told, spread if tested else ""),
                Value(change.verdict),
            )
        )
    if c.paired:
        how = f"Intervals: 95%, paired bootstrap over {c.paired:,} images in both reports, {c.draws:,} draws."
        if c.images != (c.paired, c.paired):
            how += (
                f" A has {c.images[0]:,} images and B {c.images[1]:,}; differences are over the common ones."
            )
    else:
        how = (
            "Differences are not tested: the reports hold no common images of one split, or one was made "
            "before reports kept sums per image; make it again."
        )
    caption = f"From A to B; accuracies in points, tokens and FLOPs in percent. {how}"
    strong = [i for i, change in enumerate(c.changes) if change.verdict in ("higher", "lower")]
    return Sheet(caption, ("figure", "A", "B", "B − A", "verdict"), tuple(rows), tuple(strong))


def facts_sheet(c: Comparison) -> Sheet:
    """What else differs."""
    rows = tuple((Value(name), Value(x), Value(y)) for name, x, y in c.facts)
    return Sheet("What else differs.", ("of", "A", "B"), rows)


def comparison_json(c: Comparison) -> dict[str, Any]:
    """Plain JSON; numbers that do not exist are null."""

    def known(value: float) -> float | None:
        return value if math.isfinite(value) else None

    return {
        "paired_images": c.paired,
        "images": list(c.images),
        "draws": c.draws,
        "changes": [
            {
                "name": change.name,
                "a": known(change.before),
                "b": known(change.after),
                "difference": known(change.difference.value),
                "difference_is": "absolute" if change.share else "relative",
                "ci": [known(change.difference.low), known(change.difference.high)],
                "verdict": change.verdict,
            }
            for change in c.changes
        ],
        "facts": [{"name": name, "a": x, "b": y} for name, x, y in c.facts],
    }
