"""What a process that runs a model on the CPU asks of its system. Torch-free."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def keep_freed_memory() -> None:
    """Blocks of up to 1 GiB that are freed stay with the process, to be handed out again.

    Every forward pass frees what it took for its activations. glibc gives large blocks back to the system at
    once, and the next pass pays for a page fault in every 4 KiB of them. The price: memory that was needed
    once stays taken. Nothing happens where there is no ``mallopt``.
    """
    if (libc := _libc("mallopt")) is not None:
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(_M_MMAP_THRESHOLD, 2**30)


def give_back_freed_memory() -> None:
    """What is free by now goes back to the system, once; nothing happens without ``malloc_trim``."""
    if (libc := _libc("malloc_trim")) is not None:
        libc.malloc_trim(0)


def _libc(function: str) -> ctypes.CDLL | None:
    """The C library, if it has ``function``."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, function) else None
