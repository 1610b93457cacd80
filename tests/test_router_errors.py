from __future__ import annotations

import pytest

from router import errors


def test_an_error_carries_what_the_service_answers_with() -> None:
    error = errors.M3Error("Scale 37 is not on the ladder.", "invalid_scale", "scale", 400)
    assert (str(error), error.message) == ("Scale 37 is not on the ladder.",) * 2
    assert (error.code, error.param, error.status, error.type) == (
        "invalid_scale",
        "scale",
        400,
        "invalid_request_error",
    )


def test_defaults_belong_to_the_class_and_are_not_shared_when_overridden() -> None:
    errors.InvalidImage("no", code="truncated")
    assert errors.InvalidImage("no").code == "invalid_image"
    assert errors.InvalidImage("no").param == "image"
    assert errors.InvalidImage("no").status == 400


@pytest.mark.parametrize(
    ("kind", "status", "type_"),
    [
        (errors.ConstraintError, 400, "invalid_request_error"),
        (errors.TooLarge, 413, "invalid_request_error"),
        (errors.Overloaded, 429, "overloaded_error"),
        (errors.PredictorError, 500, "server_error"),
        (errors.BundleMismatch, 500, "server_error"),
        (errors.Unavailable, 503, "overloaded_error"),
        (errors.TimedOut, 504, "server_error"),
    ],
)
def test_every_kind_knows_its_status_and_type(kind: type[errors.M3Error], status: int, type_: str) -> None:
    error = kind("why")
    assert isinstance(error, errors.M3Error)
    assert (error.status, error.type) == (status, type_)


def test_codes_tell_the_kinds_apart() -> None:
    kinds = [errors.BundleError, errors.BundleMismatch, errors.BundleCorrupt, errors.PredictorError]
    assert len({kind("x").code for kind in kinds}) == len(kinds)
