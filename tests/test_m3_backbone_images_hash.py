"""The content hash of an image."""

from __future__ import annotations

import pytest
from PIL import Image

from m3_backbone.images import content_hash, decode
from tests.image_files import encoded, pixels

# Content hash


def test_the_content_hash_is_that_of_the_pixels_whatever_the_file() -> None:
    hashes = {
        content_hash(decode(data))
        for data in (
            encoded(pixels(), "PNG"),
            encoded(pixels(), "PNG", compress_level=0),
            encoded(pixels(), "WEBP", lossless=True),
        )
    }
    assert len(hashes) == 1
    assert all(len(digest) == 64 for digest in hashes)


def test_the_content_hash_tells_sizes_and_pixels_apart() -> None:
    tall, wide = Image.new("RGB", (4, 9)), Image.new("RGB", (9, 4))
    assert content_hash(tall) != content_hash(wide)
    other = wide.copy()
    other.putpixel((0, 0), (0, 0, 1))
    assert content_hash(other) != content_hash(wide)


def test_the_content_hash_never_changes() -> None:
    # Splits are made of it: another value would move images from one split to another.
    assert content_hash(Image.new("RGB", (2, 1), (1, 2, 3))) == (
        "b57055ffd565a75597c53e8126feb2ee6cc864bf5df5abe3625a9671a768df0c"
    )


def test_the_content_hash_is_defined_for_rgb_only() -> None:
    with pytest.raises(ValueError, match="got mode 'L'; convert it first"):
        content_hash(Image.new("L", (1, 1)))
