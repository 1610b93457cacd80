"""The exception family: what the router and its service can tell a caller went wrong.

The service turns every one of these into ``{"error": {"message", "type", "param", "code"}}`` with
`status`; the command line turns them into one line and an exit code. A message of a status below 500 is
written for the client and holds no path; the others are for the operator.
"""

from __future__ import annotations


class M3Error(Exception):
    """Base of the family.

    message: one sentence that names the value and the remedy. code: stable, machine-readable.
    param: the request's field at fault, if one is. status: the HTTP status it answers with.
    """

    code: str = "internal_error"
    status: int = 500
    param: str | None = None

    def __init__(
        self, message: str, code: str | None = None, param: str | None = None, status: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        if param is not None:
            self.param = param
        if status is not None:
            self.status = status

    @property
    def type(self) -> str:
        """The error's family, in the words of OpenAI's API."""
        if self.status == 429 or self.status == 503:
            return "overloaded_error"
        return "invalid_request_error" if self.status < 500 else "server_error"


class InvalidRequest(M3Error):
    """The request cannot be answered as it stands; the client must change it."""

    code = "invalid_request"
    status = 400


class ConstraintError(InvalidRequest):
    """A scale, floor, ceiling, budget or price that is wrong in itself or that no scale meets."""

    code = "invalid_constraint"


class InvalidImage(InvalidRequest):
    """The bytes are not an image that is accepted."""

    code = "invalid_image"
    param = "image"


class TooLarge(InvalidRequest):
    """The body, or the image in it, is over a limit."""

    code = "too_large"
    status = 413


class Overloaded(M3Error):
    """Too much is asked at once: the same request may succeed in ``retry_after_s``."""

    code = "overloaded"
    status = 429

    def __init__(
        self, message: str, code: str | None = None, status: int | None = None, retry_after_s: int = 1
    ) -> None:
        super().__init__(message, code=code, status=status)
        self.retry_after_s = retry_after_s


class Unavailable(M3Error):
    """The engine is not ready."""

    code = "unavailable"
    status = 503


class TimedOut(M3Error):
    """The request's deadline passed."""

    code = "timeout"
    status = 504


class PredictorError(M3Error):
    """The predictor gave nothing that can be used; the router falls back to the full scale."""

    code = "predictor_error"


class BundleError(M3Error):
    """A bundle that cannot be read or written."""

    code = "bundle_error"


class BundleMismatch(BundleError):
    """A sound bundle that was made for something else: another backbone, ladder or summary version."""

    code = "bundle_mismatch"


class BundleCorrupt(BundleError):
    """A bundle whose files are damaged, incomplete, altered, or of a refused kind."""

    code = "bundle_corrupt"
