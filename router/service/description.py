"""The service's OpenAPI document: FastAPI's, with what it cannot know and without what it only assumes."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from router.service import bodies
from router.service.keys import OPEN

API_VERSION = "0.1.0"

_MESSAGES = {
    "400": "The request, or its header Host, is wrong",
    "401": "An API key is missing or wrong",
    "404": "There is no such model",
    "408": "The body did not arrive in time",
    "413": "The body is too large",
    "415": "The body has another type than those listed",
    "429": "Too many requests in a minute; Retry-After tells when to come back",
    "431": "The headers are too large",
    "500": "A fault of the service",
    "503": "Busy or not ready; Retry-After tells when to come back",
    "504": "It took longer than allowed",
}
_EVERYWHERE = ("400", "431", "500")
_NOT_OPEN = ("401", "429", "503")
_ASSUMED = ("HTTPValidationError", "ValidationError")  # FastAPI's own errors, which nobody ever sees
_REQUEST_ID = {"description": "Finds the request in the log", "schema": {"type": "string"}}
_RETRY_AFTER = {"description": "Seconds until it is worth another try", "schema": {"type": "string"}}
_ERROR = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}}


class DescribedApp(FastAPI):
    """A FastAPI whose document is complete: keys, and every status that an endpoint may answer with."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = complete(super().openapi())
        return self.openapi_schema


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """``document``, changed in place."""
    for path, methods in document["paths"].items():
        for operation in methods.values():
            responses: dict[str, Any] = operation["responses"]
            responses.pop("422", None)
            for status in _EVERYWHERE if path in OPEN else (*_EVERYWHERE, *_NOT_OPEN):
                responses.setdefault(status, {"content": _ERROR})
            for status, response in responses.items():
                if status in _MESSAGES:
                    response["description"] = _MESSAGES[status]
                headers = response.setdefault("headers", {})
                headers["x-request-id"] = _REQUEST_ID
                if status in ("429", "503"):
                    headers["Retry-After"] = _RETRY_AFTER
            operation["responses"] = dict(sorted(responses.items()))
            if path not in OPEN:
                operation["security"] = [{"key": []}, {}]
    components = document["components"]
    for name in _ASSUMED:
        components["schemas"].pop(name, None)
    for name, schema in components["schemas"].items():
        if "examples" in schema:  # FastAPI drops every null, and a field that is null is not one left out
            schema["examples"] = getattr(bodies, name).model_json_schema(mode="serialization")["examples"]
    components["securitySchemes"] = {
        "key": {
            "type": "http",
            "scheme": "bearer",
            "description": "One of M3_API_KEYS. None is needed where the operator has set none.",
        }
    }
    return document
