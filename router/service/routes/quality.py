"""``GET /v1/quality``: agreement with the full scale, drift, and the alarms about them."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request

from router.drift import Drift
from router.service.quality import Quality
from router.service.quality_bodies import AgreementBody, DriftBody, QualityBody, ScaleBody, WatchBody
from router.service.state import service_of

router = APIRouter(prefix="/v1", tags=["operations"])


@router.get("/quality")
async def quality(request: Request) -> QualityBody:
    """How well the router does on what it is asked, watched without labels."""
    service = service_of(request)
    known = service.quality
    known.follow()
    return QualityBody(
        router=known.router,
        alarms=list(known.alarms()),
        watch=WatchBody(
            share=service.watch.share,
            waiting=service.watch.waiting,
            counts=dict(service.watch.counts),
        ),
        agreement=_agreement(known),
        scales=[_scale(known, scale) for scale in service.pipeline.engine.ladder],
        drift=[_drift(name, drift) for name, drift in known.drift.items()],
    )


def _agreement(known: Quality) -> AgreementBody:
    sequence = known.agreement
    return AgreementBody(
        watched=sequence.n,
        mean=round(sequence.mean, 6) if sequence.n else None,
        low=sequence.low if sequence.n else None,
        high=sequence.high if sequence.n else None,
        confidence=sequence.confidence,
        bound=known.bound,
        evidence_of_a_fall=None if known.detector is None else round(min(1.0, known.detector.evidence), 6),
    )


def _scale(known: Quality, scale: int) -> ScaleBody:
    good, n = known.at_scale.get(scale, (0, 0))
    return ScaleBody(
        scale=scale, chosen=known.scales[scale], watched=n, agreement=round(good / n, 6) if n else None
    )


def _drift(name: str, drift: Drift) -> DriftBody:
    index = drift.index
    return DriftBody(
        number=name,
        reference="bundle" if drift.recorded else "first",
        n_reference=drift.n_reference,
        n_recent=drift.n_recent,
        index=None if index is None else round(index, 6),
        shifted=drift.shifted,
    )
