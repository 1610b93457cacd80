"""Encoded images that are kept, least recently used first out, bounded in bytes."""

from __future__ import annotations

from collections import OrderedDict

from m3_backbone.types import EncodedImage

Key = tuple[str, str]
"""(namespace, content hash): the same picture is shared within a namespace only."""


class ImageCache:
    """At most ``max_bytes`` of `EncodedImage.nbytes`; 0 keeps nothing. Used by one thread."""

    def __init__(self, max_bytes: int) -> None:
        if max_bytes < 0:
            raise ValueError(f"max_bytes must be at least 0, got {max_bytes}.")
        self.max_bytes = max_bytes
        self.nbytes = 0
        self._images: OrderedDict[Key, EncodedImage] = OrderedDict()

    def __len__(self) -> int:
        return len(self._images)

    def get(self, key: Key) -> EncodedImage | None:
        """The image, which counts as used now; None when it is not kept."""
        if key not in self._images:
            return None
        self._images.move_to_end(key)
        return self._images[key]

    def put(self, key: Key, image: EncodedImage) -> None:
        """Keeps ``image`` and lets go of what no longer fits; an image larger than the cache is not kept."""
        if (old := self._images.pop(key, None)) is not None:
            self.nbytes -= old.nbytes
        if self.max_bytes == 0 or image.nbytes > self.max_bytes:
            return
        self._images[key] = image
        self.nbytes += image.nbytes
        while self.nbytes > self.max_bytes:
            _, dropped = self._images.popitem(last=False)
            self.nbytes -= dropped.nbytes

    def clear(self) -> None:
        self._images.clear()
        self.nbytes = 0
