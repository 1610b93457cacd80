"""The cache of encoded images: bounded in bytes, least recently used first out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from m3_backbone.image_cache import ImageCache
from m3_backbone.types import EncodedImage


def image_of(n_bytes: int) -> EncodedImage:
    """All that the cache looks at."""
    return cast(EncodedImage, SimpleNamespace(nbytes=n_bytes))


def test_the_cache_is_bounded_in_bytes_and_drops_what_was_used_longest_ago() -> None:
    cache = ImageCache(1000)
    images = {name: image_of(400) for name in "abc"}
    cache.put(("", "a"), images["a"])
    cache.put(("", "b"), images["b"])
    assert cache.get(("", "a")) is images["a"]
    cache.put(("", "c"), images["c"])
    assert cache.get(("", "b")) is None
    assert cache.get(("", "a")) is images["a"]
    assert cache.get(("", "c")) is images["c"]
    assert (len(cache), cache.nbytes) == (2, 800)


def test_the_cache_counts_an_image_that_is_put_again_once() -> None:
    cache = ImageCache(1000)
    for _ in range(3):
        cache.put(("", "a"), image_of(400))
    assert (len(cache), cache.nbytes) == (1, 400)
    cache.put(("", "a"), image_of(2000))  # too large: what was there is gone, too
    assert (len(cache), cache.nbytes) == (0, 0)
    cache.put(("", "a"), image_of(400))
    cache.clear()
    assert (len(cache), cache.nbytes) == (0, 0)


def test_a_cache_of_less_than_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="max_bytes must be at least 0, got -1"):
        ImageCache(-1)
