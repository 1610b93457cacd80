from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from m3_backbone.pooling import REDUCERS, Layout, average, sequential, spatial


def grid(views: int = 2, side: int = 24, hidden: int = 5) -> torch.Tensor:
    return torch.from_numpy(
        np.random.default_rng(0).standard_normal((views, side, side, hidden)).astype(np.float32)
    )


@pytest.mark.parametrize("side", [1, 3, 6, 12])
def test_average_is_the_mean_of_each_cell_in_row_major_order(side: int) -> None:
    patches, step = grid(), 24 // side
    pooled = average(patches, side)
    for row in range(side):
        for column in range(side):
            cell = patches[:, row * step : (row + 1) * step, column * step : (column + 1) * step]
            torch.testing.assert_close(pooled[:, row, column], cell.mean(dim=(1, 2)), atol=1e-6, rtol=1e-5)


def test_the_full_scale_is_the_grid_itself() -> None:
    patches = grid()
    for reducer in REDUCERS.values():
        assert torch.equal(reducer(patches, 24), patches)


def test_sampling_takes_patches_and_averages_nothing() -> None:
    patches = torch.arange(24 * 24).view(1, 24, 24, 1)
    assert spatial(patches, 3).flatten().tolist() == [
        row * 24 + column for row in (4, 12, 20) for column in (4, 12, 20)
    ]
    assert spatial(patches, 1).flatten().tolist() == [12 * 24 + 12]
    assert sequential(patches, 3).flatten().tolist() == list(range(9))
    assert sequential(patches, 12).flatten().tolist() == list(range(144))


def test_pooling_works_with_or_without_views() -> None:
    patches = grid()
    for reducer in REDUCERS.values():
        assert torch.equal(reducer(patches, 6)[1], reducer(patches[1], 6))


@given(
    size=st.tuples(st.integers(1, 4000), st.integers(1, 4000)),
    tiles=st.sampled_from([None, (1, 2), (2, 1), (2, 2), (3, 1), (1, 3)]),
    merge=st.sampled_from(["flat", "spatial", "spatial_unpad"]),
    side=st.sampled_from([1, 3, 6, 12]),
)
@settings(max_examples=150, deadline=None)
def test_the_count_of_tokens_is_known_without_making_them(
    size: tuple[int, int], tiles: tuple[int, int] | None, merge: str, side: int
) -> None:
    layout = Layout(size, tiles, merge)
    pooled = torch.zeros(layout.views, side, side, 2)
    assert len(layout.join(pooled, torch.ones(2))) == layout.n_tokens(side)


def test_unpadding_keeps_the_picture_and_closes_each_row() -> None:
    layout = Layout((640, 200), (2, 1), "spatial_unpad")
    pooled = torch.arange(3 * 9, dtype=torch.float32).view(3, 3, 3, 1)
    joined = layout.join(pooled, torch.tensor([-1.0])).flatten().tolist()
    assert joined == [*range(9), 12, 13, 14, 21, 22, 23, -1]
    assert [layout.n_tokens(side) for side in (1, 3, 6, 12, 24)] == [4, 16, 88, 344, 1360]


def test_tiles_are_joined_as_one_picture() -> None:
    layout = Layout((96, 96), (2, 2), "spatial")
    pooled = torch.arange(5).repeat_interleave(4).view(5, 2, 2, 1)
    picture = layout.join(pooled, None)[4:].view(4, 4).tolist()
    assert picture == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]
