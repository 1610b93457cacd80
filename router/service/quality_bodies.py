"""The response of /v1/quality."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field


class WatchBody(BaseModel):
    """How many requests are answered again. Counts are since the start of the service."""

    share: Annotated[float, Field(description="Of the requests that ask for nothing; M3_WATCH_SHARE")]
    waiting: int
    counts: Annotated[
        dict[str, int],
        Field(description="Requests by what became of them: agreed, disagreed, dropped, failed"),
    ]


class AgreementBody(BaseModel):
    """How often a routed answer says what the full scale's says, since this router decides.

    The bounds hold at all times together with probability ``confidence``; null before the first answer.
    """

    watched: int
    mean: float | None
    low: float | None
    high: float | None
    confidence: float
    bound: Annotated[float | None, Field(description="M3_WATCH_MIN_AGREEMENT, else 1 - M3_ACCURACY_DROP")]
    evidence_of_a_fall: Annotated[
        float | None, Field(description="From 0 to 1, where agreement_fell goes on; null without a bound")
    ]


class ScaleBody(BaseModel):
    """One scale: how often it was chosen, and how its answers compare with the full scale's."""

    scale: int
    chosen: int
    watched: int
    agreement: Annotated[float | None, Field(description="Share of the watched; null when there are none")]


class DriftBody(BaseModel):
    """How far one number of the requests has moved from what it was: its population stability index.

    reference: ``bundle`` (recorded when the router was fitted) or ``first`` (the first requests since this
    router decides). index: null before there is something to compare.
    """

    number: Annotated[str, Field(description="`scale` is the mix of the scales chosen")]
    reference: str
    n_reference: int
    n_recent: int
    index: float | None
    shifted: Annotated[bool, Field(description="The index is 0.25 or more, of enough requests")]


class QualityBody(BaseModel):
    """What is known of the quality of the service without a label. No request, and no client, is in it."""

    router: str | None
    alarms: Annotated[
        list[str],
        Field(description="Those that are on: agreement_below, agreement_fell, agreement_changed, drift"),
    ]
    watch: WatchBody
    agreement: AgreementBody
    scales: list[ScaleBody]
    drift: list[DriftBody]
