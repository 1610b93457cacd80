"""Files of pictures -> pixels and their hash, in one call of a thread."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import Any

from m3_backbone import images

REMEMBERED = 4096
"""Files whose hash is known, at most; a few hundred bytes each."""


class Pictures:
    """Decodes within ``limits``. hashed: whether anybody wants hashes. May be used by several threads.

    The hash of a picture takes a tenth of its decoding, and more questions than one are asked about most:
    it is remembered by file, for each owner by itself, because else the time of an answer would tell whether
    somebody else has sent that file.
    """

    def __init__(self, limits: images.ImageLimits, *, hashed: bool) -> None:
        self._limits = limits
        self._hashed = hashed
        self._known: OrderedDict[tuple[str, bytes], str] = OrderedDict()
        self._lock = threading.Lock()

    def decode(self, file: bytes, owner: str) -> tuple[Any, str | None]:
        """The pixels, and their `images.content_hash` or None. Raises `ImageError`."""
        pixels = images.decode(file, self._limits)
        return pixels, self._hash(file, owner, pixels) if self._hashed else None

    def _hash(self, file: bytes, owner: str, pixels: Any) -> str:
        key = (owner, hashlib.sha256(file).digest())
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        found = images.content_hash(pixels)
        with self._lock:
            self._known[key] = found
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return found
