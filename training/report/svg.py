"""Matplotlib figure -> inline SVG that takes the page's colours and font, with a text alternative."""

from __future__ import annotations

import html
import io
import math
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

SIZE = (5.6, 4.1)
"""Inches: 403 x 295 units, drawn so that 11-unit text is read on a phone and not shouted on a desk."""

_STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a family may be called "$5 to $10"
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.labelsize": 11,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "figure.dpi": 72,
    "path.simplify": True,
}


@contextmanager
def canvas(colours: Mapping[str, str], size: tuple[float, float] = SIZE) -> Iterator[tuple[Any, Any]]:
    """(figure, axes) in the report's style; nothing global is changed after it."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    ink = {
        "text.color": colours["ink"],
        "axes.labelcolor": colours["ink"],
        "axes.edgecolor": colours["soft"],
        "xtick.color": colours["soft"],
        "ytick.color": colours["soft"],
        "xtick.labelcolor": colours["ink"],
        "ytick.labelcolor": colours["ink"],
        "grid.color": colours["line"],
    }
    with mpl.rc_context(_STYLE | ink):
        figure = Figure(figsize=size, layout="constrained")
        yield figure, figure.add_subplot()


def clear_legend(axes: Any) -> None:
    """Lengthens the vertical axis until no line or point lies under a legend at the lower right."""
    entries = len(axes.get_legend_handles_labels()[1])
    part = 0.06 + 0.068 * entries * SIZE[1] / axes.figure.get_size_inches()[1]
    bottom, top = axes.get_ylim()
    under = [
        y
        for line in axes.get_lines()
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
        if math.isfinite(y) and axes.transLimits.transform(axes.transScale.transform((x, y)))[0] > 0.5
    ]
    if under and part < 1:
        axes.set_ylim(min(bottom, (min(under) - part * top) / (1 - part)), top)


def inline(figure: Any, name: str, alternative: str, colours: Mapping[str, str]) -> str:
    """The figure as an `<svg>` element. name: prefix of its ids. alternative: what a reader who cannot see
    it is told. colours: those it was drawn in, exchanged for CSS variables."""
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context(_STYLE | {"svg.hashsalt": name}), warnings.catch_warnings():
        # The page's font draws the text; that matplotlib's own lacks a script is no matter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\n?", "", svg, flags=re.DOTALL)
    for key, colour in colours.items():
        svg = svg.replace(colour, f"var(--{key})")
    # The page's own font: what the figure names is not there on every machine.
    svg = re.sub(r"font-family: [^;\"]+", "font-family: inherit", svg)
    svg = re.sub(r"font: (?:(\d+) )?([\d.]+px) [^;\"]+", r"font-size: \2", svg)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = svg.replace('href="#', f'href="#{name}-').replace("url(#", f"url(#{name}-")
    # Sized by the page: width and height in points would win over a phone's screen.
    svg = re.sub(r'(<svg[^>]*?) width="[^"]+"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]+"', r"\1", svg, count=1)
    opening = f'<svg role="img" aria-label="{html.escape(alternative)}"'
    return svg.replace("<svg", opening, 1)
