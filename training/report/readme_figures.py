"""The README's figures that need no model: of report, outcome tables and the shipped folders."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open

from data.files import sha256
from data.reading import SHIPPED_OUTCOMES, how_to_make
from data.records import read_outcomes
from m3_backbone import embedded_path
from router import embedded_bundle
from training.evaluation.comparison import Estimate
from training.report.places import MANIFEST
from training.report.provenance import PROJECT
from training.report.readme import ReadmeError
from training.report.readme_kinds import kinds
from training.report.readme_markdown import paragraph, table
from training.report.words import RIVALS, number, percent, percent_range, points, points_range

REPORT = PROJECT / "docs" / "results" / "report.json"
SHIPPED = ("dev", "dev+1", "tune")
"""Splits whose tables a clone comes with; `make tables` makes all others."""


def shipped() -> dict[str, str]:
    """Block's name -> Markdown, of what is in the repository.

    Raises `ReadmeError` where the report is missing, or of other tables or another router than are shipped.
    """
    outcomes, bundle = SHIPPED_OUTCOMES, embedded_bundle()
    report = read_report(REPORT, outcomes, bundle)
    return {
        "families": families(report),
        "policies": policies(report),
        "sizes": sizes(embedded_path(), bundle, outcomes),
        "kinds": kinds(read_outcomes(outcomes / report["split"]), read_outcomes(outcomes / "tune")),
    }


def read_report(path: Path, outcomes: Path, bundle: Path) -> dict[str, Any]:
    """The report at ``path``, once it is sure that it was made of these outcomes and this bundle."""
    remedy = "Run `m3-train report --out docs/results` first."
    if not path.is_file():
        raise ReadmeError(f"There is no report in {path.name}. {remedy}")
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    made_of = report["provenance"]
    for split, read in made_of["outcomes"].items():
        if not (outcomes / split / MANIFEST).is_file():
            if split in SHIPPED:
                home = outcomes / split
                raise ReadmeError(f"There is no table {home}: make it with {how_to_make(home)}.")
            continue
        if read["manifest_sha256"] != sha256(outcomes / split / MANIFEST):
            raise ReadmeError(f"{path.name} is of other outcomes of '{split}' than are shipped. {remedy}")
    graph = json.loads((bundle / MANIFEST).read_text(encoding="utf-8"))["files"]["predictor.onnx"]["sha256"]
    if made_of["bundle"] is None or made_of["bundle"]["onnx_sha256"] != graph:
        raise ReadmeError(f"{path.name} is of another router than the one that is shipped. {remedy}")
    return report


def families(report: Mapping[str, Any]) -> str:
    """Accuracy by family and scale."""
    scales = list(report["fixed"])
    rows = [["all", *(f"{report['fixed'][s]['accuracy']:.2f}" for s in scales)]]
    rows += [[f["name"], *(f"{f['accuracy'][s]:.2f}" for s in scales)] for f in report["families"]]
    none = report["oracle"]["none_sufficient_share"]
    told = (
        f"{report['n']:,} questions about {report['n_images']:,} pictures; to {percent(none)} of them "
        "no scale gives the right answer."
    )
    return f"{paragraph(told)}\n\n{table(['family', *scales], rows)}"


def policies(report: Mapping[str, Any]) -> str:
    """What the router saves, whether it beats its rivals, and the table of all policies.

    Raises `ReadmeError` for a report without a router.
    """
    router = _policy(report, "router", "default")
    if router is None:
        raise ReadmeError("The report has no router: run `m3-train report` with a bundle.")
    rows = [_row(f"fixed {scale}", fixed, whole=True) for scale, fixed in report["fixed"].items()]
    rows.append(_row("**router**, default setting", router))
    named = {("hybrid", "default"): "**router with a second look**, default setting"}
    rows += [
        _row(named.get((p["name"], p["role"]), f"token budget {p['target']:g}"), p)
        for p in report["policies"]
        if (p["name"], p["role"]) in named or p["role"] == "budget"
    ]
    for role, name in (
        ("thrifty", "lookup, cheapest within 0.5 points on tune"),
        ("accurate", "lookup, most accurate on tune"),
    ):
        found = _policy(report, "lookup", role)
        rows += [] if found is None else [_row(name, found)]
    rows.append(
        _row("oracle, hopeless questions at the smallest", report["oracle"]["none_sufficient"]["smallest"])
    )
    head = ["policy", "accuracy (95%)", "visual tokens", "FLOPs", "FLOPs at 7B"]
    elsewhere = away(report)
    parts = [paragraph(verdict(report, router)), table(head, rows)]
    return "\n\n".join([*parts, paragraph(elsewhere)] if elsewhere else parts)


def away(report: Mapping[str, Any]) -> str:
    """What router and hybrid do on the judged shifted splits, by default and as certified for 2 points;
    empty where no split is judged."""
    judged = [shift for shift in report["shifts"] if shift["judged"]]
    told = []
    for key, name in (("router", "The router"), ("hybrid", "The one with a second look")):
        settings = (
            (key, "at its default setting"),
            (f"{key}_certified", "at the one that is certified for a net drop of 2 points at home"),
        )
        found = [f"{changes} {setting}" for of, setting in settings if (changes := _changes(judged, of))]
        if found:
            told.append(f"{name} changes accuracy by {', and by '.join(found)}.")
    if not told:
        return ""
    splits = ", ".join(f"`{shift['split']}`" for shift in judged)
    return (
        f"On data unlike training's ({splits}; nothing was tuned on them), against scale "
        f"{max(map(int, report['fixed']))}: {' '.join(told)} That was measured, not promised."
    )


def _changes(judged: Sequence[Mapping[str, Any]], key: str) -> str:
    """Least and most over the splits that have it; empty where none has."""
    found = [shift[key] for shift in judged if shift.get(key) is not None]
    if not found:
        return ""
    changes, shares = (
        [of[what]["value"] for of in found] for what in ("versus_full", "share_of_full_tokens")
    )
    return (
        f"{points(min(changes))} to {points(max(changes))} points with {percent(min(shares))} to "
        f"{percent(max(shares))} of the tokens"
    )


def verdict(report: Mapping[str, Any], router: Mapping[str, Any]) -> str:
    """What the router saves and what it gains, in words that follow from the signs of the intervals."""
    best = report["best_fixed_scale"]
    fixed = report["fixed"][str(best)]["accuracy"]
    saved, lost = _estimate(router["saved"]["visual_tokens"]), _estimate(router["versus_best_fixed"])
    if saved.value >= 0:
        spent = f"{percent(saved.value)} fewer ({percent_range(saved)})"
    else:
        spent = f"{percent(-saved.value)} more"
    change = {1: "a gain", 0: "within noise", -1: "a loss"}[lost.sign]
    gains = {name: _estimate(gain) for name, gain in router["gain_at_equal_tokens"].items() if name in RIVALS}
    beaten = [
        f"{_AGAINST[gain.sign]} {RIVALS[name]} ({points(gain.value)} points, {points_range(gain)})"
        for name, gain in gains.items()
    ]
    of_labels = " Such a lookup needs labels that only ScaleBench has." if "lookup" in gains else ""
    return (
        f"At its default setting the router spends {number(router['visual_tokens'])} visual tokens on a "
        f"question, {spent} than scale {best}, the best fixed one, and is right in "
        f"{percent(router['accuracy'])} instead of {percent(fixed)}: {points(lost.value)} points "
        f"({points_range(lost)}), {change}. At equal tokens it is {' and '.join(beaten)}.{of_labels}"
    )


_AGAINST = {1: "better than", 0: "within noise of", -1: "worse than"}


def sizes(backbone: Path, bundle: Path, outcomes: Path) -> str:
    """Of the three folders that belong together, in MB (a million bytes), and what they hold."""
    fitted = json.loads((bundle / MANIFEST).read_text(encoding="utf-8"))
    held = [split for split in SHIPPED if (outcomes / split / MANIFEST).is_file()]
    tables = [outcomes / split for split in held]
    counts = [json.loads((folder / MANIFEST).read_text(encoding="utf-8")) for folder in tables]
    questions = sum(manifest["counts"]["samples"] for manifest in counts)
    scales = len(fitted["ladder"])
    rows = [
        [
            "`m3_backbone/tiny`",
            f"m3-tiny: {parameters(backbone) / 1e6:.1f} M parameters",
            megabytes(backbone),
        ],
        ["`router/bundles/tiny`", f"its router: `{fitted['candidate']}`", megabytes(bundle)],
        [
            "`data/outcomes/tiny`",
            f"its outcome tables {', '.join(held)}: {questions:,} questions, each at {scales} scales",
            megabytes(*tables),
        ],
    ]
    return table(["folder", "holds", "MB"], rows)


def parameters(folder: Path) -> int:
    """How many a checkpoint stores, by the heads of its files."""
    total = 0
    for path in folder.rglob("*.safetensors"):
        with safe_open(path, framework="numpy") as file:
            total += sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    return total


def megabytes(*folders: Path) -> str:
    """Of all files below ``folders``, without hidden ones, compiled Python and what labelling keeps."""
    kept = [
        path
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file()
        and not any(
            part.startswith(".") or part in ("__pycache__", "shards", "grids", "run.json")
            for part in path.relative_to(folder).parts
        )
    ]
    return f"{sum(path.stat().st_size for path in kept) / 1e6:.1f}"


def _row(name: str, of: Mapping[str, Any], *, whole: bool = False) -> list[str]:
    accuracy = percent(of["accuracy"])
    if "accuracy_ci" in of:
        low, high = (percent(bound).removesuffix("%") for bound in of["accuracy_ci"])
        accuracy += f" ({low} to {high})"
    tokens = f"{of['visual_tokens']:.0f}" if whole else f"{of['visual_tokens']:.1f}"
    return [name, accuracy, tokens, number(of["flops"]), number(of["flops_7b"])]


def _policy(report: Mapping[str, Any], name: str, role: str) -> Mapping[str, Any] | None:
    return next((p for p in report["policies"] if (p["name"], p["role"]) == (name, role)), None)


def _estimate(value: Mapping[str, Any]) -> Estimate:
    low, high = (math.nan if bound is None else float(bound) for bound in value["ci"])
    return Estimate(math.nan if value["value"] is None else float(value["value"]), low, high)
