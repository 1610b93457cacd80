"""What a client raises. All of it is a `ClientError`."""

from __future__ import annotations


class ClientError(Exception):
    """Base of the family."""


class Unreachable(ClientError):
    """No response came: the address is wrong, nobody listens there, or it took too long.

    The message names the address and what to do.
    """


class UnreadableReply(ClientError):
    """A response came that is not one of this service's: another version, or something in between."""


class ServiceError(ClientError):
    """The service refused or failed.

    status: of HTTP. code: stable, see docs/operating.md; empty when the response was not the service's own.
    param: the field at fault, if one is. request_id: finds the request in the service's log.
    """

    def __init__(self, message: str, *, status: int, code: str, param: str | None, request_id: str) -> None:
        super().__init__(
            f"{message} ({status} {code or 'without a code'}, request {request_id or 'unknown'})"
        )
        self.message = message
        self.status = status
        self.code = code
        self.param = param
        self.request_id = request_id
