"""Schemathesis over the committed description: nothing is answered that it does not tell of.

Run by `make fuzz`, which brings Schemathesis; where that is not installed there is nothing to run.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from starlette.types import Receive, Scope, Send

from m3_backbone.fake import FakeEngine
from router.service.routes.described import EXAMPLE_IMAGE
from tests.serving import ScriptedRouter, app_of
from tests.serving import settings as service_settings

schemathesis = pytest.importorskip("schemathesis")

pytestmark = pytest.mark.slow

DOCUMENT = json.loads((Path(__file__).parents[1] / "docs" / "openapi.json").read_text(encoding="utf-8"))
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "100"))

UNTOLD = {
    # A text that is no image is a string all the same, and which numbers are scales depends on the model.
    "": "positive_data_acceptance",
    # A batch is a 200 whatever becomes of its items.
    "/v1/answers": "negative_data_rejection",
    # The description tells of a stream as text; Schemathesis takes it for one object per event.
    "/v1/chat/completions": "response_schema_conformance",
}
"""Path, or nothing for all -> the check that asks for what the description does not say."""


class Fresh:
    """A new app whenever one is started: Schemathesis starts one for every operation."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            config = service_settings(watch_share=0.1, watch_min_agreement=0.5)
            self.app = app_of(FakeEngine(name="tiny"), ScriptedRouter(), config)
        await self.app(scope, receive, send)


schema = schemathesis.openapi.from_dict(DOCUMENT)
schema.app = Fresh()


@schema.parametrize()  # type: ignore[untyped-decorator]  # of an optional package
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_request_is_answered_in_an_undocumented_way(case: Any) -> None:
    with_picture(case)
    names = {UNTOLD.get(path) for path in ("", case.operation.path)}
    if case.media_type == "multipart/form-data":  # a form is text: 1 is "1", an empty list is no field
        names.add("negative_data_rejection")
    response = case.call_and_validate(
        excluded_checks=[getattr(schemathesis.checks, name) for name in sorted(filter(None, names))]
    )
    # An error quotes what was sent, and Hypothesis sends the words that it finds in this file.
    assert "Traceback" not in response.text or "Traceback" in f"{case.path_parameters} {case.body}"
    assert response.headers["x-request-id"]


def with_picture(case: Any) -> None:
    """Every other good body gets a picture that is one: else none would come as far as the engine."""
    if not case.meta.generation.mode.is_positive or not isinstance(case.body, dict):
        return
    for body in (case.body, *(item for item in case.body.get("items") or () if isinstance(item, dict))):
        if isinstance(body.get("image"), str) and len(body["image"]) % 2 == 0:
            body["image"] = EXAMPLE_IMAGE
