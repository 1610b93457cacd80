"""``/health`` (the process lives), ``/ready`` (requests will be served), ``/metrics`` (Prometheus)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import PlainTextResponse, Response

from router.errors import Unavailable
from router.service.bodies import ErrorBody, ReadyBody
from router.service.metrics import CONTENT_TYPE
from router.service.state import Service, service_of

router = APIRouter(tags=["operations"])


@router.get("/health")
async def health() -> dict[str, str]:
    """200 while the process answers at all; says nothing about the model."""
    return {"status": "ok"}


@router.get("/ready", responses={503: {"model": ErrorBody}})
async def ready(service: Annotated[Service, Depends(service_of)]) -> ReadyBody:
    """200 when requests will be served, 503 otherwise."""
    engine = service.pipeline.engine
    state = engine.health()
    if not state.ready:
        raise Unavailable("The model is not ready.", code="not_ready")
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
async def metrics(service: Annotated[Service, Depends(service_of)]) -> Response:
    """What Prometheus scrapes."""
    return Response(service.metrics.render(), media_type=CONTENT_TYPE)
