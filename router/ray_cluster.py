"""A Ray cluster to work on: the one at ``RAY_ADDRESS``, or one of this machine for as long as it is used.

Ray is an extra (`ray[data,serve]`). Its processes send one another code and pickled data: a cluster is for
machines and people that trust one another.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from router.errors import M3Error

_SILENT = {"RAY_USAGE_STATS_ENABLED": "0"}
"""Ray's makers are told nothing of what runs here."""


def require_ray() -> Any:
    """The package ``ray``. Raises `M3Error` with what to install where it is missing."""
    try:
        import ray
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise M3Error(
            "Ray is not installed. Run `.venv/bin/python -m pip install -e '.[ray]'` in the project's "
            "folder.",
            code="missing_package",
        ) from error
    return ray


@contextmanager
def cluster(environment: Mapping[str, str] | None = None, cpus: int | None = None) -> Iterator[Any]:
    """``ray``, connected; what was started here has ended afterwards.

    environment: of the cluster's processes, where it is started here. cpus: what a cluster that is started
    here may use; None: all that there are. Raises `M3Error` when there is no cluster at ``RAY_ADDRESS``.
    """
    ray = require_ray()
    address = os.environ.get("RAY_ADDRESS")
    wanted = {**_SILENT, **(environment or {})}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        ray.init(
            address=address or "local",
            num_cpus=None if address else cpus,
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level="error",
        )
    except Exception as error:  # Ray raises just that where a machine is too busy for it to start in time
        where = f"to the Ray cluster at RAY_ADDRESS={address}" if address else "a Ray cluster of this machine"
        raise M3Error(f"Cannot connect {where}: {error}", code="no_cluster") from error
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
    try:
        yield ray
    finally:
        ray.shutdown()


def processors(ray: Any, kind: str) -> list[float]:
    """How many processors of a ``kind`` (CPU, GPU) each machine of the cluster has."""
    return [node["Resources"].get(kind, 0.0) for node in ray.nodes() if node["Alive"]]
