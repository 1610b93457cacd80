"""Figures as SVG: a legend lies over nothing that is drawn."""

from __future__ import annotations

import numpy as np
import pytest

from training.report.palette import key_colours
from training.report.svg import canvas, clear_legend


@pytest.mark.parametrize("last", [83.0, 87.0, 93.0])
@pytest.mark.parametrize("entries", [2, 7])
def test_no_point_lies_under_the_legend(last: float, entries: int) -> None:
    with canvas(key_colours(5)) as (figure, axes):
        axes.plot([1, 9, 36, 144, 576], [83, 86, 87, 88, last], "o", label="fixed scale")
        for number in range(entries - 1):
            axes.plot([6, 64], [94, 94], label=f"line {number}")
        axes.set_xscale("log")
        axes.set_xlim(0.8, 900)
        bottom, top = axes.get_ylim()
        clear_legend(axes)
        assert axes.get_ylim()[1] == top
        assert axes.get_ylim()[0] <= bottom
        legend = axes.legend(loc="lower right", handlelength=2.2, labelspacing=0.3, borderpad=0.2)
        figure.draw_without_rendering()
        box = legend.get_window_extent()
        for line in axes.get_lines():
            drawn = axes.transData.transform(np.column_stack([line.get_xdata(), line.get_ydata()]))
            assert not any(box.contains(x, y) for x, y in drawn)


def test_an_axis_with_room_is_left_as_it_is() -> None:
    with canvas(key_colours(5)) as (_, axes):
        axes.plot([1, 9, 36, 144, 576], [40, 70, 84, 86, 88], label="fixed scale")
        axes.set_xscale("log")
        before = axes.get_ylim()
        clear_legend(axes)
        assert axes.get_ylim() == before
