"""``m3-router serve``: the HTTP service until SIGTERM or Ctrl-C, then a drain and exit code 0."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Annotated

import typer
import uvicorn
from starlette.datastructures import State

from m3_backbone.types import Engine
from router.cli.loading import MADE_UP, load_engine, load_router, unproven
from router.cli.options import (
    Backbone,
    BundleOption,
    Compile,
    Delta,
    Device,
    Drop,
    Dtype,
    EngineOption,
    KvBudget,
    Loss,
    OnRay,
    PromptLimit,
    Reducer,
    Replicas,
    Scales,
    VisionTower,
    VllmOptions,
)
from router.errors import M3Error
from router.router import Router
from router.service import logs
from router.service.app import create_app
from router.service.hosts import LOOPBACK, is_loopback
from router.service.patience import Patience
from router.service.protocol import HEAD_BYTES, Protocol
from router.settings import Settings, unknown_variables

logger = logging.getLogger("m3_router")

_BACKLOG = 2048


def command(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one.", show_default="8000")] = None,
    backbone: Backbone = None,
    bundle: BundleOption = None,
    engine: EngineOption = None,
    vllm: VllmOptions = None,
    device: Device = None,
    dtype: Dtype = None,
    compile_parts: Compile = None,
    kv_budget: KvBudget = None,
    prompt_limit: PromptLimit = None,
    reducer: Reducer = None,
    vision_tower: VisionTower = None,
    ladder: Scales = None,
    accuracy_drop: Drop = None,
    delta: Delta = None,
    loss: Loss = None,
    on_ray: OnRay = False,
    replicas: Replicas = None,
) -> None:
    """Serve answers over HTTP. Every option can also be set in the environment: M3_PORT, M3_BACKBONE, ..."""
    settings = Settings.load(
        host=host,
        port=port,
        backbone=backbone,
        bundle=bundle,
        engine=engine,
        vllm=shlex.join(vllm) if vllm else None,
        device=device,
        dtype=dtype,
        compile=compile_parts,
        kv_budget_bytes=kv_budget,
        prompt_limit=prompt_limit,
        reducer=reducer,
        vision_tower=vision_tower,
        ladder=ladder,
        accuracy_drop=accuracy_drop,
        delta=delta,
        loss=loss,
    )
    if settings.allowed_hosts is None and is_loopback(settings.host):
        names = ",".join(sorted({*LOOPBACK, settings.host}))
        settings = settings.model_copy(update={"allowed_hosts": names})
    logs.set_up(settings.log_level, settings.log_format)
    signal.signal(signal.SIGTERM, _leave)  # while the engine loads, and again after the drain
    terminal = _Terminal()
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(0) if terminal.closed else None)  # nothing to reload yet
    for sentence in unknown_variables(os.environ):
        logger.warning("%s", sentence)
    try:
        if on_ray:
            _serve_on_ray(settings, replicas)
        else:
            _serve(settings, terminal)
    except KeyboardInterrupt:
        logger.info("Stopped.")


def _serve(settings: Settings, terminal: _Terminal) -> None:
    with _bind(settings) as listener:
        loaded = load_engine(settings)
        router = _router(settings, loaded)
        app = create_app(settings, loaded, router, load_router=partial(_router, settings, loaded))
        listener.listen(_BACKLOG)  # from here on a client waits instead of being refused
        address, bound_port = listener.getsockname()[:2]
        logger.info(
            "Serving %s with %s on http://%s:%d",
            loaded.name,
            "no router (full scale only)" if router is None else f"router {router.version}",
            f"[{address}]" if ":" in address else address,
            bound_port,
        )
        if not settings.keys and not is_loopback(settings.host):
            logger.warning("Anybody who reaches this address may ask: M3_API_KEYS is not set.")
        if settings.engine == "fake":
            logger.warning("%s", MADE_UP)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="on",
            http=_protocol(settings, app.state.service.metrics.error),
            ws="none",
            h11_max_incomplete_event_size=HEAD_BYTES,
            timeout_keep_alive=settings.keep_alive_s,
            timeout_graceful_shutdown=max(1, int(settings.drain_timeout_s)),
        )
        server = _Server(config, app.state, terminal)
        server.patience = Patience(loaded, settings.give_up_s)
        with server.heeding(signal.SIGINT, signal.SIGTERM):
            server.run(sockets=[listener])
        if not server.started:
            raise M3Error("The service did not start; the lines above say why.", code="not_started")
        if server.patience.over:
            raise M3Error(
                f"The engine was not ready for {settings.give_up_s:g} s (M3_GIVE_UP_S). Start it again.",
                code="engine_dead",
            )


def _serve_on_ray(settings: Settings, replicas: int | None) -> None:
    from router.cli.ray_serve import serve_on_ray

    def free_port() -> int:
        with _bind(settings) as listener:
            port: int = listener.getsockname()[1]
            return port

    serve_on_ray(settings, free_port, replicas)


def _router(settings: Settings, engine: Engine) -> Router | None:
    """`load_router`; what the operator has asked for and nobody gets is told in the log."""
    router = load_router(settings, engine)
    if router is not None and (sentence := unproven(settings, router)) is not None:
        logger.warning("%s", sentence)
    return router


class _Terminal:
    """The terminal that the service was started in, if it was one.

    SIGHUP comes from a person who wants a reload, and from a terminal that closes. Who closes it means to end
    what runs there.
    """

    def __init__(self) -> None:
        self._there = os.isatty(0)

    @property
    def closed(self) -> bool:
        return self._there and not os.isatty(0)


class _Server(uvicorn.Server):
    """uvicorn's, which on SIGHUP also reloads the bundle, or drains and ends when ``terminal`` was closed.

    It ends too when ``patience`` with the engine is over. state: the app's.
    """

    patience: Patience

    def __init__(self, config: uvicorn.Config, state: State, terminal: _Terminal) -> None:
        super().__init__(config)
        self._state = state
        self._terminal = terminal
        self._asked_to_end = False

    @contextmanager
    def heeding(self, *signals: signal.Signals) -> Iterator[None]:
        """``signals`` end the server at its first tick.

        uvicorn takes signals over only when its loop runs. Before that they would be exceptions in the
        midst of asyncio's making of the loop, which prints tracebacks of what is half made.
        """

        def ask(signum: int, frame: FrameType | None) -> None:
            self._asked_to_end = True

        before = {number: signal.signal(number, ask) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._hang_up)
        await super().serve(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._state.stopping = True
        await super().shutdown(sockets)

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second; whether to end."""
        return await super().on_tick(counter) or self._asked_to_end or self.patience.is_over()

    def _hang_up(self) -> None:
        if self._terminal.closed:
            self.should_exit = True
        else:
            self._state.service.reloader.request()


def _protocol(settings: Settings, refused: Callable[[str], None]) -> type[Protocol]:
    """The class of connections, with this service's deadline; ``refused`` counts what is no request."""
    own = {"head_timeout_s": settings.head_timeout_s, "refused": staticmethod(refused)}
    return type("Connection", (Protocol,), own)


def _leave(signum: int, frame: FrameType | None) -> None:
    sys.exit(0)


def _bind(settings: Settings) -> socket.socket:
    """A bound socket, so that a port that is taken is known before any weights are loaded."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except BaseException:
            listener.close()
            raise
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that no name server takes
        why = error.strerror if isinstance(error, OSError) else "not the name of a host"
        raise M3Error(
            f"Cannot listen on {settings.host}:{settings.port} ({why}). "
            "Choose another address with --host and --port, or M3_HOST and M3_PORT.",
            code="cannot_listen",
        ) from error
    return listener
