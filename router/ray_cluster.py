"""A Ray cluster to work on: the one at ``RAY_ADDRESS``, or one of this machine for as long as it is used.

Ray is an extra (`ray[data,serve]`). Its processes send one another code and pickled data: a cluster is for
machines and people that trust one another.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from router.errors import M3Error

_SILENT = {"RAY_USAGE_STATS_ENABLED": "0"}
"""Ray's makers are told nothing of what runs here."""

_PATIENCE_S = 10.0


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


def named() -> str | None:
    """The address of the cluster that is there already, if one is to be used."""
    return os.environ.get("RAY_ADDRESS") or None


@contextmanager
def cluster(environment: Mapping[str, str] | None = None, cpus: int | None = None) -> Iterator[Any]:
    """``ray``, connected; what was started here has ended afterwards.

    environment: of the cluster's processes, where it is started here. cpus: what a cluster that is started
    here may use; None: all that there are. Raises `M3Error` when there is no cluster at ``RAY_ADDRESS``.
    """
    ray = require_ray()
    address = named()
    if address:
        _check_reachable(address)
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
        token = (
            "" if not address else ". Where it asks for a token: RAY_AUTH_MODE=token, and the same token here"
        )
        raise M3Error(f"Cannot connect {where}: {error}{token}.", code="no_cluster") from error
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raises `M3Error` where nobody listens, for which Ray would wait minutes. Of HOST:PORT alone."""
    if (found := re.fullmatch(r"\[?([^/\[\]]+?)\]?:([0-9]{1,5})", address)) is None:
        return
    try:
        socket.create_connection((found[1], int(found[2])), timeout=_PATIENCE_S).close()
    except (OSError, OverflowError) as error:
        raise M3Error(
            f"RAY_ADDRESS has value '{address}'. No Ray cluster can be reached there: {error}",
            code="no_cluster",
        ) from error


@dataclass(frozen=True, slots=True)
class Share:
    """``count`` models on a cluster, each with so many of its CPUs and GPUs."""

    count: int
    cpus: int
    gpus: int

    @classmethod
    def of(cls, ray: Any, device: str, count: int | None = None) -> Share:
        """One on each GPU (for the device ``cpu``: on each machine), or ``count`` of them.

        On CPUs each has as many as all of them can have. Raises `M3Error` for more than there is room for.
        """
        if device.startswith("cuda"):
            if device != "cuda":
                raise M3Error(
                    f"The device has value '{device}'. On Ray each model is given its GPU: take cuda.",
                    code="invalid_device",
                )
            gpus = int(sum(processors(ray, "GPU")))
            if not gpus or (count or 1) > gpus:
                raise M3Error(
                    f"The Ray cluster has {gpus} GPUs. There is no room for {count or 1} models.",
                    code="no_room",
                )
            return cls(count or gpus, 1, 1)
        cpus = [int(each) for each in processors(ray, "CPU") if each >= 1]
        count = count or max(1, len(cpus))
        if count > sum(cpus):
            raise M3Error(
                f"The Ray cluster has {sum(cpus)} CPUs. There is no room for {count} models.", code="no_room"
            )
        each = max(cpus, default=1)
        while sum(there // each for there in cpus) < count:
            each -= 1
        return cls(count, each, 0)


def processors(ray: Any, kind: str) -> list[float]:
    """How many processors of a ``kind`` (CPU, GPU) each machine of the cluster has."""
    return [node["Resources"].get(kind, 0.0) for node in ray.nodes() if node["Alive"]]
