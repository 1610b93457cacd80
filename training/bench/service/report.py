"""The tables of a run: the terminal and docs/results show the same ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from training.bench.service import overload
from training.bench.service.overhead import BARE, Overhead
from training.bench.service.overload import Overload
from training.bench.service.results import Results
from training.bench.service.throughput import Routed, Served
from training.report.markdown import sheet
from training.report.provenance import made_by
from training.report.tables import Sheet, Value

NAME = "service-bench"


def sheets(results: Results) -> list[Sheet]:
    """The bars first, then one sheet for each part that was measured."""
    found = [_bars(results)]
    if results.overhead is not None:
        found.append(_overhead(results.overhead))
    if results.served is not None:
        found.append(_served(results.served))
    if results.routed is not None:
        found.append(_routed(results.routed))
    if results.overload is not None:
        found.append(_overload(results.overload))
    return found


def write(results: Results, out: Path) -> tuple[Path, Path]:
    """``service-bench.md`` and ``.json`` in the folder ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    text, data = out / f"{NAME}.md", out / f"{NAME}.json"
    text.write_text(markdown(results), encoding="utf-8")
    data.write_text(json.dumps(results.json(), indent=1) + "\n", encoding="utf-8")
    return text, data


def markdown(results: Results) -> str:
    p = results.provenance
    versions = ", ".join(f"{name} {number}" for name, number in p["versions"].items())
    cores = p["cores"]
    where = (
        f"the server on core {cores['server']}, its clients on core {cores['clients']}"
        if cores["server"] is not None
        else "cores not pinned"
    )
    parts = [
        "# The service under load",
        "Ratios within one run: the two ways took turns, on the same core. Clients send the questions of "
        "ScaleBench's `dev`, every picture once a round; encoded pictures are not kept. Ratios are of "
        "medians over rounds, with the quartiles of the ratios of neighbouring rounds.",
    ]
    parts += [sheet(each) for each in sheets(results)]
    parts.append(
        f"{made_by(p)}: {p['backbone']}, "
        f"{p['machine']}, {where}, {p['rounds']} rounds, load average {p['load_average']} at the start, "
        f"Python {p['python']}, {versions}."
    )
    return "\n\n".join(parts) + "\n"


def _bars(results: Results) -> Sheet:
    rows = [(bar.what, bar.asked, bar.got, "yes" if bar.met else "no") for bar in results.bars]
    return _sheet("Bars", ("", "asked for", "measured", "met"), rows)


def _overhead(of: Overhead) -> Sheet:
    rows = []
    for name in of.times_ms:
        above = "" if name == BARE else f"{of.above_ms(name):.2f}"
        rows.append((name, f"{of.median_ms(name):.2f}", above))
    told = of.json()["stages_ms"]
    stages = ", ".join(f"{stage} {value:.2f}" for stage, value in told.items())
    return _sheet(
        f"One request at a time on the fake engine, {len(of.times_ms[BARE])} to each; /v1/answer timed its "
        f"own stages at {stages} ms",
        ("", "median, ms", "above the bare route, ms"),
        rows,
    )


def _served(of: Served) -> Sheet:
    rows = []
    for scale, pairs in of.pairs.items():
        told, more = pairs.json("service", "engine"), of.summarised[scale]
        both = f"{more.json('service', 'engine')['engine']:.2f}"
        rows.append(
            (str(scale), f"{told['service']:.2f}", f"{told['engine']:.2f}", str(pairs), both, str(more))
        )
    return _sheet(
        f"Requests a second with {of.clients} clients, {of.requests} requests a round; the engine alone has "
        "all of them decoded at hand, encodes and answers: routing is the service's own cost. With summaries "
        f"it also makes what the router reads; {of.differing} answers differed",
        ("scale", "service", "engine alone", "ratio", "with summaries", "ratio"),
        rows,
    )


def _routed(of: Routed) -> Sheet:
    told = of.pairs.json("routed", "full")
    rows = [
        (
            "routed",
            f"{of.visual_tokens[0]:.1f}",
            f"{of.flops[0] / 1e9:.3f}",
            f"{told['routed']:.2f}",
            str(of.pairs),
            f"{of.promised:.3f}",
        ),
        (
            "always the full scale",
            f"{of.visual_tokens[1]:.1f}",
            f"{of.flops[1] / 1e9:.3f}",
            f"{told['full']:.2f}",
            "1",
            "1",
        ),
    ]
    return _sheet(
        f"Routed against the full scale, {of.clients} clients, {of.requests} requests a round",
        ("", "visual tokens", "GFLOPs, whole path", "requests/s", "ratio", "ratio by FLOPs"),
        rows,
    )


def _overload(of: Overload) -> Sheet:
    told = of.json()
    statuses = ", ".join(f"{status}: {n}" for status, n in told["statuses"].items())
    rows = [
        ("it can answer a second", f"{told['capacity_per_s']:.1f}"),
        ("came a second", f"{told['offered_per_s']:.1f} ({told['offered_over_capacity']:.1f} times that)"),
        ("were answered a second", f"{told['answered_per_s']:.1f}"),
        ("statuses", statuses),
        ("clients could not send", str(told["given_up_by_clients"])),
        ("accepted, median", f"{told['accepted_p50_s']:.2f} s"),
        ("accepted, p99", f"{told['accepted_p99_s']:.2f} s of {told['deadline_s']:g} s"),
        ("waited at most", f"{told['most_queued']} of {told['queue_limit']}"),
        ("in hand at most", f"{told['most_in_flight']} of {told['in_flight_limit']}"),
        (
            "as fast as before after",
            "not in 10 s" if told["recovery_s"] is None else f"{told['recovery_s']:.2f} s",
        ),
    ]
    return _sheet(
        f"Overload for {told['seconds']:.0f} s, fake engine with {overload.TOKEN_S:g} s a token",
        ("", ""),
        rows,
    )


def _sheet(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Sheet:
    return Sheet(caption, tuple(head), tuple(tuple(Value(cell) for cell in row) for row in rows))
