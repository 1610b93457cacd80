"""``m3-train report --paper``: the paper's fixed scales and oracle as paper.html, paper.md and paper.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.files import write_bytes
from training.evaluation.comparison import HULL
from training.evaluation.frontier import hull_accuracy
from training.report import markdown
from training.report.data_sections import sheet
from training.report.markup import facts, figure, paragraph, section, text
from training.report.page import document, origin, versions
from training.report.palette import key_colours
from training.report.paper import paper
from training.report.paper_headroom import MODELS, Benchmark, as_json, benchmarks
from training.report.provenance import made_by
from training.report.svg import canvas, clear_legend, inline
from training.report.tables import Sheet, Value
from training.report.words import percent, points

SIZE = (4.4, 3.4)

DEFINITIONS = (
    (
        "Tokens per grid",
        "Visual tokens of one view; LLaVA-NeXT-M3 sees five of an image, LLaVA-1.5-7B-M3 one.",
    ),
    (
        "Fixed hull",
        "Upper concave hull of the fixed scales: what sending each question at random to one of two scales "
        "reaches. A router has to be above it.",
    ),
    (
        "Oracle",
        "Per question the smallest scale that answers it right, as the paper found it: one run, so that "
        "lucky guesses count. No router reaches it.",
    ),
    (
        "Accuracy headroom",
        "Oracle minus best fixed scale, in points: what routing could gain at most.",
    ),
    (
        "Token headroom",
        "Share of the best fixed scale's tokens that the oracle does without: what routing could save at "
        "most.",
    ),
)


def write_paper(out: Path, provenance: Mapping[str, Any]) -> tuple[Path, ...]:
    """Write the three files into ``out`` (made where it is missing); returns their paths.

    provenance: `training.report.provenance.of_command`.
    """
    out.mkdir(parents=True, exist_ok=True)
    found = benchmarks()
    contents = {
        "paper.html": html_page(found, provenance),
        "paper.md": as_markdown(found, provenance),
        "paper.json": json.dumps({**as_json(), "provenance": dict(provenance)}, indent=1, ensure_ascii=False)
        + "\n",
    }
    for name, content in contents.items():
        write_bytes(out / name, content.encode())
    return tuple(out / name for name in contents)


def headline(found: Sequence[Benchmark]) -> str:
    """One sentence: what the oracle leaves to gain and to save."""
    known = [(b, b.accuracy_headroom, b.token_headroom) for b in found]
    gains = [(gain, b.name) for b, gain, _ in known if gain is not None]
    saved = [(share, b.name) for b, _, share in known if share is not None]
    return (
        f"In the paper's own figures an oracle over the scales is {100 * min(gains)[0]:.1f} to "
        f"{100 * max(gains)[0]:.1f} points above the best fixed scale ({min(gains)[1]}, {max(gains)[1]}), "
        f"with {percent(min(saved)[0], 0)} to {percent(max(saved)[0], 0)} fewer tokens "
        f"({min(saved)[1]}, {max(saved)[1]})."
    )


def html_page(found: Sequence[Benchmark], provenance: Mapping[str, Any]) -> str:
    """The whole page."""
    about = (
        f"{paper()['source']}. Tables 1 and 2, copied; nothing here was run again, and the paper gives no "
        "intervals. Its oracle counts lucky guesses, so that what a router can reach is less."
    )
    body = [f"<header><h1>{text(headline(found))}</h1>{paragraph(about)}</header>"]
    for model in MODELS.values():
        mine = [b for b in found if b.model == model]
        pictures = "".join(figure(picture(b, at), caption(b)) for at, b in enumerate(mine))
        body.append(section(model, sheet(accuracies(model, mine)), f'<div class="figures">{pictures}</div>'))
    body.append(section("What prefill costs", sheet(prefill())))
    body.append(section("What the words mean", facts(DEFINITIONS, "words")))
    body.append(section("Provenance", facts([*origin(provenance), versions(provenance)])))
    return document("M3: the paper's fixed scales and oracle", body, n_scales=5)


def as_markdown(found: Sequence[Benchmark], provenance: Mapping[str, Any]) -> str:
    """GitHub-flavoured Markdown."""
    parts = ["# M3: the paper's fixed scales and oracle", f"**{headline(found)}**", f"{paper()['source']}."]
    for model in MODELS.values():
        parts += [f"## {model}", markdown.sheet(accuracies(model, [b for b in found if b.model == model]))]
    parts += ["## What prefill costs", markdown.sheet(prefill())]
    parts += [f"- **{name}**: {meaning}" for name, meaning in DEFINITIONS]
    parts.append(f"{made_by(provenance)}.")
    return "\n\n".join(parts) + "\n"


def accuracies(model: str, found: Sequence[Benchmark]) -> Sheet:
    """A row per benchmark: every scale, the oracle where there is one, and both headrooms."""
    scales, oracle = found[0].scales, found[0].oracle is not None
    head = ["benchmark", *(f"at {scale}" for scale in scales), "best fixed"]
    head += ["oracle", "its tokens", "accuracy headroom", "token headroom"] if oracle else ["unpooled base"]
    rows = []
    for b in found:
        row = [b.name, *map(percent, b.accuracy), f"{b.scales[b.best]}"]
        if b.oracle is not None and b.accuracy_headroom is not None and b.token_headroom is not None:
            row += [percent(b.oracle), f"{b.oracle_tokens:.1f}", points(b.accuracy_headroom)]
            row += [percent(b.token_headroom)]
        elif b.base is not None:
            row += [percent(b.base)]
        rows.append(tuple(map(Value, row)))
    caption = f"{model}: accuracy at every scale, tokens per grid" + (
        "; headroom of the oracle over the best fixed scale." if oracle else "; the paper has no oracle here."
    )
    return Sheet(caption, tuple(head), tuple(rows))


def prefill() -> Sheet:
    """Table 9: what the language model's prefill costs at every scale."""
    known = paper()["llm_prefill_cost"]
    keys = ("scales", "tflops", "prefill_ms", "total_gb", "activations_gb")
    rows = tuple(tuple(Value(f"{v:g}") for v in row) for row in zip(*(known[k] for k in keys), strict=True))
    heads = ("scale", "TFLOPs", "prefill, ms", "memory, GB", "activations, GB")
    return Sheet(f"Table {known['table']}.", heads, rows)


def caption(b: Benchmark) -> str:
    if b.oracle is None or b.accuracy_headroom is None or b.token_headroom is None:
        return f"{b.name}: scale {b.scales[b.best]} is the best fixed one."
    return (
        f"{b.name}: the oracle is {100 * b.accuracy_headroom:.1f} points above scale {b.scales[b.best]}, the "
        f"best fixed one, with {percent(b.token_headroom, 0)} fewer tokens."
    )


def picture(b: Benchmark, at: int) -> str:
    """Accuracy against tokens per grid: fixed scales, their hull, the oracle."""
    colours = key_colours(len(b.scales))
    x, y = np.array(b.scales, np.float64), 100 * np.array(b.accuracy)
    hull = np.array(b.hull)
    with canvas(colours, SIZE) as (drawn, axes):
        axes.grid(axis="y", linewidth=0.6)
        # A chord between two scales bends on a log axis: it is drawn as what mixing gives in between.
        dense = np.geomspace(x[hull[0]], x[hull[-1]], 200) if len(hull) > 1 else x[hull]
        mixed = hull_accuracy(x, y, dense)
        axes.plot(dense, mixed, color=colours["fixed"], linestyle=(0, (1, 1.5)), label=HULL)
        axes.plot(x, y, "o", color=colours["fixed"], markersize=6, label="fixed scale")
        said = ", ".join(
            f"scale {scale}: {100 * a:.1f}%" for scale, a in zip(b.scales, b.accuracy, strict=True)
        )
        words = f"{b.model} on {b.name}, accuracy against tokens per grid. {said}."
        if b.oracle is not None and b.oracle_tokens is not None:
            axes.plot(
                [b.oracle_tokens],
                [100 * b.oracle],
                "D",
                color=colours["oracle"],
                markersize=8,
                label="oracle",
            )
            words += f" Oracle: {100 * b.oracle:.1f}% at {b.oracle_tokens:.1f}."
        axes.set_xscale("log")
        axes.set_xlim(0.8, 900)
        axes.set_xticks(b.scales, [str(scale) for scale in b.scales])
        axes.set_xticks([], minor=True)
        axes.set_ylabel("accuracy, %")
        axes.set_xlabel("tokens per grid (log)")
        axes.set_title(b.name)
        clear_legend(axes)
        axes.legend(loc="lower right", handlelength=2.2, labelspacing=0.3, borderpad=0.2)
        return inline(drawn, f"paper-{_KEYS[b.model]}-{at}", words, colours)


_KEYS = {model: key.replace("_", "-") for key, model in MODELS.items()}
