"""A second process opens images (decodes files, renders scenes) while the model works on those before.

Pixels come through a one-way pipe. When this process is killed, the pipe breaks and the other one ends too.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import queue
import signal
import threading
from collections.abc import Generator, Sequence
from multiprocessing.connection import Connection
from typing import NoReturn

from PIL import Image

from data.records import ImageSource

Opened = Image.Image | str
"""The upright RGB image, or why it could not be opened."""

_Message = tuple[tuple[int, int], bytes] | str


class PrefetchError(RuntimeError):
    """The process that opens images died."""


def open_all(sources: Sequence[ImageSource], *, ahead: int = 16, process: bool = True) -> Generator[Opened]:
    """The images of ``sources`` in order, at most ``ahead`` of them waiting in memory.

    process: False opens them here, one by one. So do sources that cannot be pickled: nothing is lost but
        the overlap.
    """
    if process and sources:
        try:
            pickle.dumps(list(sources))
        except (pickle.PicklingError, AttributeError, TypeError):
            process = False
    if not (process and sources):
        return (_open(source) for source in sources)
    return _from_process(list(sources), ahead)


def _open(source: ImageSource) -> Opened:
    try:
        image = source()
    except (OSError, ValueError, MemoryError) as error:
        return str(error) or type(error).__name__
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_process(sources: list[ImageSource], ahead: int) -> Generator[Opened]:
    context = multiprocessing.get_context("spawn")  # forking a process that has run torch can hang
    receiver, sender = context.Pipe(duplex=False)
    worker = context.Process(target=_work, args=(sender, sources), daemon=True, name="m3-images")
    worker.start()
    sender.close()
    waiting: queue.Queue[_Message | None] = queue.Queue(maxsize=ahead)
    stopped = threading.Event()
    reader = threading.Thread(target=_receive, args=(receiver, waiting, stopped), daemon=True)
    reader.start()
    try:
        for _ in sources:
            message = waiting.get()
            if message is None:
                worker.join()
                _died(worker.exitcode)
            yield message if isinstance(message, str) else Image.frombytes("RGB", *message)
    finally:
        stopped.set()
        worker.terminate()
        worker.join()
        reader.join()
        receiver.close()
        worker.close()


def _receive(receiver: Connection, waiting: queue.Queue[_Message | None], stopped: threading.Event) -> None:
    """Pipe -> queue, until the other end closes; None marks the end."""
    message: _Message | None = None
    while not stopped.is_set():
        try:
            message = receiver.recv()
        except (EOFError, OSError):
            message = None
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                waiting.put(message, timeout=0.1)
                break
        if message is None:
            return


def _work(sender: Connection, sources: Sequence[ImageSource]) -> None:
    """The other process: opens image after image; ends when nobody listens any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that labels
    with contextlib.suppress(BrokenPipeError):
        for source in sources:
            opened = _open(source)
            sender.send(opened if isinstance(opened, str) else (opened.size, opened.tobytes()))
    sender.close()


def _died(code: int | None) -> NoReturn:
    raise PrefetchError(
        f"The process that opens images ended with code {code} (out of memory?). "
        "Run the same command again: it continues with the shard in flight."
    )
