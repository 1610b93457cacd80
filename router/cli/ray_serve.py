"""``m3-router serve --ray``: replicas of the service on a Ray cluster until SIGTERM or Ctrl-C."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from router.cli.loading import MADE_UP
from router.errors import M3Error
from router.ray_app import deployment, require_deployable
from router.ray_cluster import Share, cluster, named
from router.ray_front import ATTEMPT, NAME, PROXY_CALLBACK
from router.service.hosts import is_loopback
from router.settings import PREFIX, Settings

logger = logging.getLogger("m3_router")

_OF_THE_FRONT = ("max_body_bytes", "body_timeout_s", "request_timeout_s")
"""Settings that `router.ray_front` reads, in the proxies."""

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Past the HTTP proxy that the environment may name."""


def serve_on_ray(settings: Settings, free_port: Callable[[], int], replicas: int | None) -> None:
    """Serves until a signal comes. replicas: None for one on each GPU or, on CPUs, one on each machine.

    free_port: the port of ``settings``, or a free one for 0; raises when something has it. Where Serve runs
    on the cluster already, its address and no other is served on.

    Raises `M3Error` when Serve has another address, or another application where this one would be, when the
    replicas do not start, or the cluster's proxies are without `router.ray_front`.
    """
    require_deployable(settings)
    port = 0 if named() else free_port()  # a port that is taken is known before Ray starts
    environment = {PREFIX + name.upper(): str(getattr(settings, name)) for name in _OF_THE_FRONT}
    with cluster({**PROXY_CALLBACK, **environment}) as ray, _heeding(signal.SIGINT, signal.SIGTERM) as ending:
        from ray import serve
        from ray.serve.exceptions import RayServeException

        there = _serve_there()
        if there is not None:
            port = _port_of(there, settings)
            _check_place(there)
        else:
            port = port or free_port()
        share = Share.of(ray, settings.device, replicas)
        resources = {"num_cpus": share.cpus, "num_gpus": share.gpus}
        if there is None:
            _start(serve, settings, port)
        try:
            app = deployment(settings).options(num_replicas=share.count, ray_actor_options=resources)
            try:
                serve.run(app.bind(settings), name=NAME, route_prefix="/")
            except (RuntimeError, RayServeException) as error:
                raise M3Error(f"The replicas did not start. {_why(error)}", code="not_started") from error
            host = f"[{settings.host}]" if ":" in settings.host else settings.host
            _check_front(host, port)
            replicas_of = "1 replica" if share.count == 1 else f"{share.count} replicas"
            logger.info("Serving %s of %s on http://%s:%d", replicas_of, settings.backbone, host, port)
            if not settings.keys and not is_loopback(settings.host):
                logger.warning("Anybody who reaches this address may ask: M3_API_KEYS is not set.")
            if settings.engine == "fake":
                logger.warning("%s", MADE_UP)
            ending.wait()
            logger.info("Replicas finish what they have.")
        finally:
            serve.delete(NAME)  # whatever else the cluster serves stays


def _start(serve: Any, settings: Settings, port: int) -> None:
    options = {"host": settings.host, "port": port, "keep_alive_timeout_s": settings.keep_alive_s}
    try:
        serve.start(proxy_location="EveryNode", http_options=options)
    except Exception as error:  # an error of an actor's: on a busy machine a proxy may take too long
        raise M3Error(
            f"Serve's proxy did not start on {settings.host}:{port}. {_why(error)} Is the machine busy? Try "
            "again.",
            code="not_started",
        ) from error


def _serve_there() -> Any:
    """The client of a Serve that runs on the cluster, or None.

    Not a public function: `serve.status` says neither the address nor who is at which path.
    """
    from ray.serve.context import _get_global_client

    return _get_global_client(raise_if_no_controller_running=False)


def _port_of(there: Any, settings: Settings) -> int:
    """Raises `M3Error` when Serve, which keeps its address, has another than that of ``settings``."""
    options = there.http_config
    if options.host != settings.host or settings.port not in (0, options.port):
        raise M3Error(
            f"Serve runs on this cluster and listens on {options.host}:{options.port}, not on "
            f"{settings.host}:{settings.port}. Give --host {options.host} --port {options.port}.",
            code="cannot_listen",
        )
    port: int = options.port
    return port


def _check_place(there: Any) -> None:
    """Raises `M3Error` when Serve has another application at the path of this one."""
    for name, application in there.get_serve_details()["applications"].items():
        if application["route_prefix"] == "/" and name != NAME and application["status"] != "DELETING":
            raise M3Error(
                f"The cluster's Serve has application '{name}' at '/'. Give it another route_prefix, or "
                f"remove it: python -c \"from ray import serve; serve.delete('{name}')\".",
                code="route_taken",
            )


def _why(error: Exception) -> str:
    """The last line of what Serve says that is not a frame of a traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    ours = [line for line in lines if line.startswith("router.")]
    return (ours or lines or ["Ray's logs say why."])[-1]


def _check_front(host: str, port: int) -> None:
    """Raises `M3Error` when the proxy does not have it, as in a cluster that was started without."""
    try:
        with _DIRECT.open(f"http://{host}:{port}/health", timeout=60) as response:
            there = ATTEMPT in response.headers
    except urllib.error.HTTPError as error:  # a host that is not allowed is an answer too
        there = ATTEMPT in error.headers
        error.close()
    except OSError as error:
        raise M3Error(
            f"Serve's proxy does not answer at {host}:{port}: {error}. Run the command on the head of the "
            "cluster, or on a machine that has a replica.",
            code="not_started",
        ) from error
    if not there:
        name, value = next(iter(PROXY_CALLBACK.items()))
        raise M3Error(
            f"The cluster's proxies would lose requests of replicas that die: set {name}={value} in the "
            "environment of every machine, and start Ray there again.",
            code="no_front",
        )


class Ending:
    """What a signal does: it ends the process at once while it starts, and after `wait` began, the wait.

    Serve waits without end for replicas that find no room on the cluster.
    """

    def __init__(self) -> None:
        self._asked = threading.Event()
        self.serving = False

    def ask(self, signum: int, frame: FrameType | None) -> None:
        if not self.serving:
            sys.exit(0)
        self._asked.set()

    def wait(self) -> None:
        """Until a signal comes."""
        self.serving = True
        self._asked.wait()


@contextmanager
def _heeding(*signals: signal.Signals) -> Iterator[Ending]:
    ending = Ending()
    before = {number: signal.signal(number, ending.ask) for number in signals}
    try:
        yield ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
