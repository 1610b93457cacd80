"""The app factory: everything that an app needs is handed in, and nothing is shared between two apps."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from m3_backbone.types import Engine
from router.decisions import DecisionLog
from router.image_hosts import parse_image_hosts
from router.service.admission import InFlightLimit, RateLimit
from router.service.context import RequestContext
from router.service.deciding import Routes
from router.service.description import API_VERSION, DescribedApp
from router.service.fetching import Fetcher
from router.service.heads import HeadAsGet
from router.service.hosts import HostCheck, parse_hosts
from router.service.keys import ApiKeys, KeyCheck
from router.service.metrics import Metrics
from router.service.pipeline import Pipeline
from router.service.quality import Quality, Watched
from router.service.recording import Recorder
from router.service.reloading import Reloader
from router.service.routes import asking, batch, chat, operations, playground, quality
from router.service.schemas import constraints_of
from router.service.security import BodyLimit
from router.service.state import Service
from router.service.watching import Watch
from router.settings import Settings

logger = logging.getLogger("m3_router")


def create_app(
    settings: Settings,
    engine: Engine,
    router: Routes | None = None,
    *,
    load_router: Callable[[], Routes | None] | None = None,
    fetcher: Fetcher | None = None,
) -> FastAPI:
    """The service on ``engine``, which the app starts and, when it stops, drains and closes.

    router: a `router.Router`; None answers everything at the full scale and says so in each decision.
    load_router: what a reload calls for a new one (``app.state.service.reloader``); None: there are no
    reloads. fetcher: of images by address, instead of what ``settings`` say.
    Raises `DecisionLogError` when the decision log of ``settings`` cannot be opened.
    """
    metrics = Metrics(engine, None if router is None else router.version)
    log = None if settings.decision_log is None else _decision_log(settings.decision_log, settings, metrics)
    recorder = Recorder(log, metrics, engine.name)
    pipeline = Pipeline(settings, engine, router)
    reloader = None if load_router is None else Reloader(pipeline, metrics, load_router)
    known = Quality(engine.ladder, metrics, lambda: pipeline.router, bound=_bound(settings))

    def tell(found: Watched) -> None:
        known.watched(found)
        recorder.watched(found)

    watch = Watch(
        pipeline,
        metrics,
        tell,
        share=settings.watch_share,
        usual=constraints_of({}, engine.ladder, settings),
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await engine.start()
        watch.start()
        try:
            yield
        finally:
            await watch.close()
            if reloader is not None:
                reloader.close()
            try:
                async with asyncio.timeout(settings.drain_timeout_s):
                    await engine.close()
            except TimeoutError:
                logger.warning("The engine was still busy after %g s; leaving.", settings.drain_timeout_s)
            pipeline.close()
            recorder.close()

    async def pass_on(request: Request, error: Exception) -> Response:
        raise error  # to `RequestContext`, the one handler of every exception

    app = DescribedApp(
        title="m3-router",
        version=API_VERSION,
        summary="Answers image questions at the number of visual tokens that they need.",
        docs_url=None,  # these pages load scripts from elsewhere; /openapi.json stays
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        exception_handlers={HTTPException: pass_on, RequestValidationError: pass_on},
    )
    fetcher = fetcher or _fetcher(settings)
    app.state.stopping = False  # whoever serves the app sets it before a drain
    app.state.service = Service(settings, pipeline, metrics, recorder, known, watch, reloader, fetcher)
    for group in (asking, batch, chat, operations, playground, quality):
        app.include_router(group.router)
    app.add_middleware(HeadAsGet)  # added first: the innermost
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    app.add_middleware(InFlightLimit, limit=settings.max_in_flight)
    if settings.rate_limit is not None:
        app.add_middleware(RateLimit, per_minute=settings.rate_limit)
    if settings.keys:
        app.add_middleware(KeyCheck, keys=ApiKeys(settings.keys))
    app.add_middleware(HostCheck, allowed=parse_hosts(settings.allowed_hosts or "*"))
    app.add_middleware(RequestContext, metrics=metrics)  # added last: the outermost
    return app


def _decision_log(folder: Path, settings: Settings, metrics: Metrics) -> DecisionLog:
    return DecisionLog(folder, max_bytes=settings.decision_log_bytes, lost=metrics.decision_log_failed)


def _fetcher(settings: Settings) -> Fetcher | None:
    hosts = parse_image_hosts(settings.image_hosts)
    return Fetcher(hosts, settings.max_body_bytes, settings.image_fetch_timeout_s) if hosts else None


def _bound(settings: Settings) -> float | None:
    """The agreement that is asked for: the operator's, else what his accuracy drop promises at the least."""
    if settings.watch_min_agreement is None and settings.accuracy_drop is not None:
        return 1 - settings.accuracy_drop
    return settings.watch_min_agreement
