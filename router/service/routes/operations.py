"""``/health`` (the process lives), ``/ready`` (requests will be served), ``/metrics`` (Prometheus)."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from router.errors import Unavailable
from router.service.bodies import ErrorBody, ReadyBody
from router.service.metrics import CONTENT_TYPE
from router.service.state import service_of

router = APIRouter(tags=["operations"])


@router.get("/health")
async def health() -> dict[str, str]:
    """200 while the process answers at all; says nothing about the model."""
    return {"status": "ok"}


@router.get("/ready", responses={503: {"model": ErrorBody}})
async def ready(request: Request) -> ReadyBody:
    """200 when requests will be served, 503 otherwise."""
    service = service_of(request)
    engine = service.pipeline.engine
    state = engine.health()
    if not state.ready:
        raise Unavailable("The model is not ready.", code="not_ready")
    if request.app.state.stopping:
        raise Unavailable("The service is stopping.", code="not_ready")
    return ReadyBody(
        ready=True,
        engine=service.settings.engine,
        model=service.model,
        router=service.router_version,
        scales=list(engine.ladder),
        aspect=engine.aspect,
        queued=state.queued,
        running=state.running,
        cached_images=state.cached_images,
    )


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """What Prometheus scrapes."""
    service = service_of(request)
    return Response(service.metrics.render(), media_type=CONTENT_TYPE)
