"""Any bytes are an image or an image error."""

from __future__ import annotations

import warnings

from hypothesis import example, given, settings
from hypothesis import strategies as st

from m3_backbone.images import ImageError, ImageLimits, decode
from tests.image_files import SEEDS

# Anything at all


def accepted_or_refused(data: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            image = decode(data, ImageLimits(max_pixels=1_000_000, max_side=2000))
        except ImageError:
            return
    assert image.mode == "RGB"
    assert image.width * image.height <= 1_000_000


@given(st.binary(max_size=300))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_an_image_or_an_image_error(data: bytes) -> None:
    accepted_or_refused(data)


@given(
    st.sampled_from(range(len(SEEDS))),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=12),
    st.floats(0, 1),
)
@example(0, [(0.0, 255)], 1.0)
@settings(max_examples=300, deadline=None)
def test_any_damage_to_a_file_is_an_image_or_an_image_error(
    seed: int, changes: list[tuple[float, int]], share: float
) -> None:
    data = bytearray(SEEDS[seed])
    for place, value in changes:
        data[int(place * len(data))] = value
    accepted_or_refused(bytes(data[: int(share * len(data))] if share > 0.2 else data))


@given(st.sampled_from(range(len(SEEDS))), st.integers(0, 200), st.binary(min_size=1, max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_insertion_near_the_header_is_an_image_or_an_image_error(
    seed: int, place: int, extra: bytes
) -> None:
    data = SEEDS[seed]
    accepted_or_refused(data[:place] + extra + data[place:])
