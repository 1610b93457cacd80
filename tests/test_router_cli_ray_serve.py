"""What a signal does to ``m3-router serve --ray``, and what is said of a proxy that does not start."""

from __future__ import annotations

import signal
import threading
from typing import Any

import pytest

from router.cli import ray_serve
from router.cli.ray_serve import Ending
from router.errors import M3Error
from router.settings import Settings


class Failing:
    """Serve, whose proxy dies."""

    def start(self, **options: Any) -> None:
        raise RuntimeError("The actor died.\n\tclass_name: ProxyActor\nIt never ran.\n")


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


def test_a_proxy_that_does_not_start_is_an_error_with_the_reason_and_the_address() -> None:
    with pytest.raises(M3Error, match=r"did not start on 127\.0\.0\.1:8123\. It never ran\.") as caught:
        ray_serve._start(Failing(), Settings(), 8123)
    assert caught.value.code == "not_started"
