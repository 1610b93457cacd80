"""What of a cluster each model has; clusters are given, so no Ray is needed."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest

from router.errors import M3Error
from router.ray_cluster import Share, cluster, require_ray


@dataclass
class Cluster:
    """``ray``, connected to machines with so many CPUs and GPUs, and one that is gone."""

    machines: tuple[tuple[int, int], ...]

    def nodes(self) -> list[dict[str, Any]]:
        there = [
            {"Alive": True, "Resources": {"CPU": float(cpus), **({"GPU": float(gpus)} if gpus else {})}}
            for cpus, gpus in self.machines
        ]
        return [*there, {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}}]


@pytest.mark.parametrize(
    ("machines", "device", "count", "share"),
    [
        ([(2, 0)], "cpu", None, Share(1, 2, 0)),
        ([(2, 0)], "cpu", 2, Share(2, 1, 0)),
        ([(16, 0)], "cpu", 3, Share(3, 5, 0)),
        ([(16, 0), (16, 0)], "cpu", None, Share(2, 16, 0)),
        ([(16, 0), (4, 0)], "cpu", None, Share(2, 8, 0)),
        ([(16, 0), (4, 0)], "cpu", 5, Share(5, 4, 0)),
        ([(16, 2), (16, 4), (8, 0)], "cuda", None, Share(6, 1, 1)),
        ([(16, 2), (16, 4)], "cuda", 5, Share(5, 1, 1)),
    ],
)
def test_there_is_one_on_each_device_or_as_many_as_asked_for(
    machines: list[tuple[int, int]], device: str, count: int | None, share: Share
) -> None:
    assert Share.of(Cluster(tuple(machines)), device, count) == share


@pytest.mark.parametrize(
    ("machines", "device", "count", "message"),
    [
        ([(2, 0)], "cpu", 3, "has 2 CPUs. There is no room for 3 models."),
        ([], "cpu", None, ""),
        ([(2, 0)], "cuda", None, "has 0 GPUs. There is no room for 1 models."),
        ([(2, 2)], "cuda", 3, "has 2 GPUs. There is no room for 3 models."),
        ([(2, 2)], "cuda:1", None, "'cuda:1'. On Ray each model is given its GPU: take cuda."),
    ],
)
def test_more_than_there_is_room_for_is_refused(
    machines: list[tuple[int, int]], device: str, count: int | None, message: str
) -> None:
    with pytest.raises(M3Error) as refused:
        Share.of(Cluster(tuple(machines)), device, count)
    assert message in refused.value.message


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:99999", "[::1]:1"])
def test_an_address_where_nobody_listens_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(M3Error) as refused, cluster():
        raise AssertionError("there is no cluster")
    assert f"RAY_ADDRESS has value '{address}'. No Ray cluster can be reached" in refused.value.message


def test_without_the_package_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(M3Error, match=r"pip install -e '\.\[ray\]'"):
        require_ray()
    with pytest.raises(M3Error, match="Ray is not installed"), cluster():
        raise AssertionError("there is no cluster")
