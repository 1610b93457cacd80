"""Other candidates beside the router: what `m3-train compare` found on the same table.

A comparison's compare.json holds every candidate's frontier, a mean over training seeds, and its difference
to the comparison's main candidate. Nothing is fitted or replayed here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.evaluation.comparison import HULL, Estimate
from training.evaluation.results import COSTS

NAME = "compare.json"
_OWN = (HULL, "lookup", "fixed scales")
"""What a report draws itself."""


class PeersError(ValueError):
    """A file that is no comparison of this report's table; the message names it and the remedy."""


@dataclass(frozen=True)
class Peer:
    """One candidate. tokens, accuracy: its frontier. area: its mean accuracy over log tokens. over: area
    minus the main candidate's, None of the main one. settings: role -> cost name -> mean cost, with
    ``accuracy``.
    """

    name: str
    seeds: int
    tokens: tuple[float, ...]
    accuracy: tuple[float, ...]
    area: Estimate
    over: Estimate | None
    settings: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Peers:
    """rows: the largest area first. main: whom differences are to. range: of tokens, areas are over it."""

    main: str
    range: tuple[float, float]
    rows: tuple[Peer, ...]
    commit: str


def read_peers(path: Path, provenance: Mapping[str, Any], split: str) -> Peers:
    """The candidates in ``path``, a compare.json or the folder that has one.

    provenance: of the report (`training.report.provenance`). Raises `PeersError` for a file that is no
    comparison, or one of another table, split or folds.
    """
    file = path / NAME if path.is_dir() else path
    try:
        content = json.loads(file.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise PeersError(
            f"{file} cannot be read ({error.strerror}): `m3-train compare` writes one."
        ) from None
    except (ValueError, RecursionError) as error:
        raise PeersError(f"{file} is not JSON ({error}): give a {NAME} of `m3-train compare`.") from None
    try:
        if content["folds"] or content["split"] != split:
            what = f"{content['folds']} folds of" if content["folds"] else "the split"
            raise PeersError(
                f"{file} compares on {what} {content['split']}, this report is on {split}: compare on that."
            )
        known = content["provenance"]["outcomes"][split]["manifest_sha256"]
        mine = provenance["outcomes"][split]["manifest_sha256"]
        if known != mine:
            raise PeersError(
                f"{file} is of another table of split {split} (its manifest's sha256 is {known[:12]}..., "
                f"here {mine[:12]}...): run `m3-train compare` on this one."
            )
        low, high = map(float, content["area_range"])
        return Peers(
            main=str(content["main"]),
            range=(low, high),
            rows=tuple(_peer(row) for row in content["candidates"] if row["name"] not in _OWN),
            commit=str(content["provenance"]["commit"] or "unknown"),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, PeersError):
            raise
        raise PeersError(
            f"{file} is no comparison of `m3-train compare` ({type(error).__name__}: {error}): make it again."
        ) from None


def _peer(row: Mapping[str, Any]) -> Peer:
    over = row["over_main"]
    return Peer(
        name=str(row["name"]),
        seeds=len(row["seeds"]),
        tokens=tuple(map(float, row["frontier"]["visual_tokens"])),
        accuracy=tuple(map(float, row["frontier"]["accuracy"])),
        area=_estimate(row["area"]),
        over=None if over is None else _estimate(over["area"]),
        settings={
            role: {key: float(policy[key]) for key in ("accuracy", *COSTS) if key in policy}
            for role, policy in row["settings"].items()
        },
    )


def _estimate(value: Mapping[str, Any]) -> Estimate:
    low, high = value["ci"]
    return Estimate(*(math.nan if v is None else float(v) for v in (value["value"], low, high)))
