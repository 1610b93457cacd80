"""A picture told part by part: its cells, their colours, its rows. Training only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data.scalebench.canvas import Region
from data.scalebench.labels import FRAME
from data.scalebench.picture import Description
from data.scalebench.vocabulary import COLOURS


def scans(regions: Sequence[Region]) -> list[Description]:
    """The picture cell by cell, one word a cell: what is there, and of which colour.

    At the scale of as many tokens the k-th word lies a fixed distance behind the k-th visual token:
    the first thing that a language model learns to read out.
    """
    out = []
    for cells in (6, 3):
        entries = [entry for row in _cells(regions, cells) for entry in row]
        things = [entry.split()[-1] for entry in entries]
        colours = [entry.split()[0] if entry.split()[0] in COLOURS else "-" for entry in entries]
        out.append(Description(f"List the {cells * cells} cells.", " ".join(things)))
        if any(colour != "-" for colour in colours):
            out.append(Description(f"List the {cells * cells} colours.", " ".join(colours)))
    return out


def rows(regions: Sequence[Region], cells: int) -> list[Description]:
    """The picture row by row."""
    return [
        Description(f"Row {r + 1} of {cells}.", " ".join(row))
        for r, row in enumerate(_cells(regions, cells))
        if any(entry != "-" for entry in row)
    ]


def _cells(regions: Sequence[Region], cells: int) -> list[list[str]]:
    """For each of ``cells`` x ``cells`` squares of the frame what lies in it, in words or "-"."""
    side = FRAME / cells
    table = [["-"] * cells for _ in range(cells)]
    best = np.zeros((cells, cells))
    for region in regions:
        x0, y0, x1, y1 = region.box
        for r in range(max(0, int(y0 // side)), min(cells, int(y1 // side) + 1)):
            for c in range(max(0, int(x0 // side)), min(cells, int(x1 // side) + 1)):
                wide = min(x1, (c + 1) * side) - max(x0, c * side)
                tall = min(y1, (r + 1) * side) - max(y0, r * side)
                area = wide * tall / ((x1 - x0) * (y1 - y0) + 1) + wide * tall / side**2
                if wide > 0 and tall > 0 and area > max(best[r, c], 0.15):
                    best[r, c] = area
                    table[r][c] = region.text
    return table
