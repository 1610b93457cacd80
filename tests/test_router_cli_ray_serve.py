"""What a signal does to ``m3-router serve --ray``."""

from __future__ import annotations

import signal
import threading

import pytest

from router.cli.ray_serve import Ending


def test_a_signal_ends_what_starts_at_once_and_what_serves_by_a_drain() -> None:
    ending = Ending()
    with pytest.raises(SystemExit) as left:
        ending.ask(signal.SIGTERM, None)
    assert left.value.code == 0
    waiting = threading.Thread(target=ending.wait)
    waiting.start()
    while not ending.serving:
        waiting.join(0.01)
    ending.ask(signal.SIGTERM, None)
    waiting.join(60)
    assert not waiting.is_alive()
