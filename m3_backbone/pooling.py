"""Grid -> scale: how the projected features of an image become its visual tokens.

M3 (arXiv 2405.17430, section 3): average pooling after the projector, kernel = stride =
grid side / scale side, row-major. The paper's other reducers, spatial and sequential sampling (tables 4 and
6), stand beside it as named alternatives. The paper draws them (figure 5) and gives no formula, and the
official code holds average pooling alone. What is done here is what the baselines of these names are in
LLaVA-PruMerge (arXiv 2403.15388, section 4.4), a paper that shares authors with M3: sequential takes the
first tokens of the flattened sequence, spatial takes tokens evenly over the grid. That it takes each cell's
centre fits M3's table 4: with one token the two methods differ, so spatial does not start in the corner.

The full scale is the grid itself under every reducer. Views of anyres are reduced one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

Reducer = Callable[[Tensor, int], Tensor]
"""(grid [..., G, G, C], side) -> [..., side, side, C]."""


def average(grid: Tensor, side: int) -> Tensor:
    """The mean of each cell; at the grid's own side the grid itself, bit for bit."""
    full = grid.shape[-2]
    if side == full:
        return grid
    channels_last = grid.reshape(-1, full, full, grid.shape[-1]).permute(0, 3, 1, 2)
    pooled = avg_pool2d(channels_last, full // side).permute(0, 2, 3, 1)
    return pooled.reshape(*grid.shape[:-3], side, side, grid.shape[-1])


def spatial(grid: Tensor, side: int) -> Tensor:
    """One patch of each cell, the one at or just after its centre; nothing is averaged."""
    step = grid.shape[-2] // side
    return grid[..., step // 2 :: step, step // 2 :: step, :]


def sequential(grid: Tensor, side: int) -> Tensor:
    """The first side x side patches of the row-major sequence: what lies further down is not seen."""
    first = grid.flatten(-3, -2)[..., : side * side, :]
    return first.reshape(*grid.shape[:-3], side, side, grid.shape[-1])


REDUCERS: dict[str, Reducer] = {"average": average, "spatial": spatial, "sequential": sequential}


@dataclass(frozen=True, slots=True)
class Layout:
    """How the views of one image are joined into one sequence.

    size: (width, height) of the image in pixels. tiles: (columns, rows), None for a single view.
    merge: ``mm_patch_merge_type``.
    """

    size: tuple[int, int]
    tiles: tuple[int, int] | None
    merge: str

    @property
    def views(self) -> int:
        return 1 if self.tiles is None else 1 + self.tiles[0] * self.tiles[1]

    def n_tokens(self, side: int) -> int:
        """Visual tokens of the image when each view has side x side of them."""
        if self.tiles is None or self.merge == "flat":
            return self.views * side * side
        columns, rows = self.tiles[0] * side, self.tiles[1] * side
        if self.merge == "spatial":
            return side * side + columns * rows
        top, left = self._margins(columns, rows)
        return side * side + max(rows - 2 * top, 0) * (max(columns - 2 * left, 0) + 1)

    def join(self, pooled: Tensor, newline: Tensor | None) -> Tensor:
        """[views, side, side, C] -> [n_tokens(side), C].

        ``spatial_unpad``: the first view, then the tiles as one picture without the rows or columns
        that hold padding alone, each row closed by ``newline`` [C].
        """
        if self.tiles is None or self.merge == "flat":
            return pooled.flatten(0, 2)
        side = pooled.shape[1]
        columns, rows = self.tiles
        picture = pooled[1:].reshape(rows, columns, *pooled.shape[1:]).transpose(1, 2)  # [R, s, C, s, hidden]
        picture = picture.flatten(2, 3).flatten(0, 1)  # [R * s, C * s, hidden]
        if self.merge == "spatial_unpad":
            assert newline is not None
            top, left = self._margins(columns * side, rows * side)
            picture = picture[top : rows * side - top, left : columns * side - left]
            closing = newline.expand(picture.shape[0], 1, -1)
            picture = torch.cat((picture, closing), dim=1)
        return torch.cat((pooled[0].flatten(0, 1), picture.flatten(0, 1)))

    def _margins(self, columns: int, rows: int) -> tuple[int, int]:
        """Rows at top and bottom, columns at left and right that the reference cuts (``unpad_image``)."""
        width, height = self.size
        if width / height > columns / rows:
            return (rows - int(height * (columns / width))) // 2, 0
        return 0, (columns - int(width * (rows / height))) // 2
