"""``m3-router serve --ray`` on a cluster that serves something else; skipped where Ray is not installed."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from router.ray_front import ATTEMPT, PROXY_CALLBACK
from tests.ray_serving import ENVIRONMENT, ROOT, SERVE, free_port, question, right, running, same

pytest.importorskip("ray", reason="the extra [ray] is not installed")

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.timeout(1200)]

OTHER = """
import sys

import ray
from ray import serve
from ray.cluster_utils import Cluster


@serve.deployment(ray_actor_options={"num_cpus": 0})
class Other:
    async def __call__(self, request):
        return "other at " + request.url.path


if __name__ == "__main__":
    machine = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    ray.init(machine.address, log_to_driver=False)
    print("at", machine.address, flush=True)
    for line in sys.stdin:
        name, route = line.split()
        serve.start(http_options={"port": int(sys.argv[1])})
        serve.run(Other.bind(), name=name, route_prefix=route)
        print("done", flush=True)
    serve.shutdown()
    ray.shutdown()
    machine.shutdown()
"""


@dataclass
class Cluster:
    """A cluster of one machine. port: of its Serve, which runs from the first `serve` on."""

    process: subprocess.Popen[str]
    address: str
    port: int

    def serve(self, name: str, route: str) -> None:
        """Another application of that name at that path."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{name} {route}\n")
        self.process.stdin.flush()
        said(self.process, "done")

    def refusal(self, *options: str) -> str:
        """What the command says on the cluster, which ends with an error."""
        done = subprocess.run(
            [*SERVE, "--engine", "fake", *options],
            cwd=ROOT,
            env={**ENVIRONMENT, "RAY_ADDRESS": self.address},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr.splitlines()[-1]


def said(process: subprocess.Popen[str], word: str) -> str:
    """The first line of ``process`` that begins with ``word``."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(word):
            return line
    raise AssertionError(f"the cluster ended with {process.wait()}")


@contextmanager
def started(script: Path) -> Iterator[Cluster]:
    script.write_text(OTHER)
    port = free_port()
    with subprocess.Popen(
        [sys.executable, str(script), str(port)],
        cwd=ROOT,
        env={**ENVIRONMENT, **PROXY_CALLBACK},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Cluster(process, said(process, "at").split()[1], port)


def test_a_cluster_that_serves_already_is_joined_at_its_address(tmp_path: Path) -> None:
    (alone,) = right(range(3, 4)).values()
    with started(tmp_path / "other.py") as cluster:
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", cluster.port))
            holder.listen()
            said_of_it = cluster.refusal("--port", str(cluster.port))
            assert f"Cannot listen on 127.0.0.1:{cluster.port} (Address already in use)." in said_of_it
        cluster.serve("other", "/other")
        elsewhere = cluster.refusal("--port", str(free_port()))
        assert f"Give --host 127.0.0.1 --port {cluster.port}." in elsewhere
        assert "Serve runs on this cluster" in cluster.refusal("--port", str(cluster.port), "--host", "::1")
        command = [*SERVE, "--engine", "fake", "--replicas", "1", "--port", str(cluster.port)]
        with running(command, cluster.port, RAY_ADDRESS=cluster.address) as server:
            assert same(server.ask("/v1/answer", question(3)), alone)
            other = server.ask("/other/v1/answer")
            assert (other.status, other.text) == (200, "other at /other/v1/answer")
            assert ATTEMPT not in other.headers
        assert server.process.returncode == 0, "".join(server.log)
        assert server.ask("/other").text == "other at /other"
        cluster.serve("rooted", "/")
        at_root = cluster.refusal("--port", str(cluster.port))
        assert "The cluster's Serve has application 'rooted' at '/'." in at_root
        assert "serve.delete('rooted')" in at_root
        assert server.ask("/v1/answer").text == "other at /v1/answer"
