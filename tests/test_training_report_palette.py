"""Colours of reports: lines stay apart in every kind of colour vision, and stand out from the page."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from training.report.palette import THEMES

Vector = NDArray[np.float64]

SEEN: dict[str, Any] = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
"""Linear RGB as it is seen: Machado, Oliveira and Fernandes 2009, severity 1."""

LINES = ("router", "lookup", "oracle", "hybrid")


def linear(colour: str) -> Vector:
    values = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb: Vector) -> Vector:
    """CIE L*a*b* (D65) of linear RGB."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(rgb, 0, 1) / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(a: str, b: str) -> float:
    """As WCAG 2.2 has it."""
    weights = np.array([0.2126, 0.7152, 0.0722])
    dark, light = sorted(float(linear(colour) @ weights) for colour in (a, b))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", list(THEMES))
@pytest.mark.parametrize("vision", list(SEEN))
def test_lines_of_one_picture_stay_apart_in_every_kind_of_colour_vision(theme: str, vision: str) -> None:
    seen = {name: lab(np.array(SEEN[vision]) @ linear(THEMES[theme][name])) for name in LINES}
    for a, b in itertools.combinations(LINES, 2):
        assert np.linalg.norm(seen[a] - seen[b]) > 14, (a, b)  # 2.3 is just noticeable


@pytest.mark.parametrize("theme", list(THEMES))
def test_what_is_drawn_and_written_stands_out_from_the_page(theme: str) -> None:
    colours = THEMES[theme]
    for name in (*LINES, "fixed", "peer"):
        assert contrast(colours[name], colours["paper"]) >= 3, name
    for name in ("ink", "soft", "good", "bad"):
        assert contrast(colours[name], colours["paper"]) >= 4.5, name
        assert contrast(colours[name], colours["panel"]) >= 4.5, name
