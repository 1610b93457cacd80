"""What `m3-router serve --ray` says where Ray fails it; without Ray."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from router.cli import ray_serve
from router.errors import M3Error
from router.settings import Settings


class Failing:
    """Serve, of which everything raises what Ray's actors do when they were killed."""

    def start(self, **options: Any) -> None:
        raise RuntimeError("The actor died.\n\tclass_name: ProxyActor\nIt never ran.\n")

    def delete(self, name: str) -> None:
        raise ConnectionError(f"no GCS for {name}")


def test_a_proxy_that_does_not_start_is_an_error_with_the_reason_and_the_address() -> None:
    with pytest.raises(M3Error, match=r"did not start on 127\.0\.0\.1:8123\. It never ran\.") as caught:
        ray_serve._start(Failing(), Settings(), 8123)
    assert caught.value.code == "not_started"


def test_a_cluster_that_ended_first_is_a_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="m3_router"):
        ray_serve._remove(Failing())
    assert "gone before its replicas had finished (ConnectionError)" in caplog.text
