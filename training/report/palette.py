"""Colours of the report: colour-blind safe, one set for light and one for dark, switched by CSS variables.

Blue and orange are Okabe and Ito's; the others were moved until all lines of a picture stay apart in
simulated colour blindness. Scales have an ordinal ramp of one hue, so that order survives any kind of colour
vision and a grey print. Figures are drawn in key colours which `svg.py` exchanges for variables.
"""

from __future__ import annotations

from collections.abc import Mapping

THEMES: Mapping[str, Mapping[str, str]] = {
    "light": {
        "paper": "#ffffff",
        "panel": "#f5f7f9",
        "ink": "#17202a",
        "soft": "#55616e",
        "line": "#d4dae0",
        "router": "#0072b2",
        "lookup": "#c04f00",
        "fixed": "#4a545e",
        "oracle": "#2e6b2e",
        "hybrid": "#8a1a6b",
        "peer": "#828d98",
        "good": "#00704f",
        "bad": "#b3261e",
    },
    "dark": {
        "paper": "#12161a",
        "panel": "#1b2127",
        "ink": "#e8edf2",
        "soft": "#a3afbb",
        "line": "#353e47",
        "router": "#56b4e9",
        "lookup": "#f2a04b",
        "fixed": "#b4bec8",
        "oracle": "#b9dd7c",
        "hybrid": "#e0558f",
        "peer": "#73808d",
        "good": "#3ccf9f",
        "bad": "#ff8a80",
    },
}

_RAMP_ENDS = {"light": ("#9ecae8", "#08306b"), "dark": ("#e3f0fa", "#2673b3")}
NONE = {"light": "#dadfe4", "dark": "#424c56"}
"""Where no scale is sufficient."""


def ramp(theme: str, n: int) -> list[str]:
    """``n`` colours from the smallest scale to the largest."""
    low, high = (_channels(end) for end in _RAMP_ENDS[theme])
    parts = [i / max(n - 1, 1) for i in range(n)]
    return [
        "#" + "".join(f"{round(a + p * (b - a)):02x}" for a, b in zip(low, high, strict=True)) for p in parts
    ]


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def variables(theme: str, n_scales: int) -> str:
    """CSS declarations of one theme, scales included."""
    named = {**THEMES[theme], "none": NONE[theme]}
    named |= {f"scale-{i}": colour for i, colour in enumerate(ramp(theme, n_scales))}
    return " ".join(f"--{name}: {value};" for name, value in named.items())


def key_colours(n_scales: int) -> dict[str, str]:
    """Name -> the colour that stands for it while a figure is drawn; no two are alike."""
    names = [*THEMES["light"], "none", *(f"scale-{i}" for i in range(n_scales))]
    return {name: f"#f0{17 + i:02x}a7" for i, name in enumerate(names)}
