"""Reading a request's body: JSON or multipart -> one dict of fields, the image as bytes.

Raises `InvalidRequest` (400), `UnsupportedType` (415), `BodyTimeout` (408); `TooLarge` comes from
`security.BodyLimit` while reading.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
from contextlib import aclosing
from typing import Any

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from router.errors import InvalidImage, InvalidRequest
from router.service.failures import ClientGone
from router.service.fetching import Fetcher, RemoteImage
from router.service.text import clean
from router.settings import Settings

_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]*):")
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_DECIMAL = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")
_MAX_FILES, _MAX_FIELDS = 4, 32
_MAX_PARTS = 100_000
"""Commas and opening brackets of a JSON body: 20 MB of ``[],[],`` would become half a gigabyte of lists."""
_AS_FILE = "A picture is sent as a file with a name: with curl, -F image=@PATH."
_ESCAPES = {b"%2B": b"+", b"%2F": b"/", b"%3D": b"=", b"%0A": b"", b"%0D": b"", b"%20": b""}


class UnsupportedType(InvalidRequest):
    code = "unsupported_media_type"
    status = 415


class _Parser(MultiPartParser):
    """Starlette's, which takes text that is not in its encoding for Latin-1: here it is an error."""

    def on_part_end(self) -> None:
        part = self._current_part
        if part.file is None:
            try:
                part.data.decode(self._charset)
            except (UnicodeDecodeError, LookupError):
                name = clean(part.field_name)
                hint = f" {_AS_FILE}" if name == "image" else ""
                raise InvalidRequest(
                    f"The field '{name}' is not text in UTF-8.{hint}", code="invalid_text", param=name
                ) from None
        super().on_part_end()


class BodyTimeout(InvalidRequest):
    code = "body_timeout"
    status = 408


async def read_fields(request: Request, settings: Settings, *, multipart: bool = True) -> dict[str, Any]:
    """The body's fields as sent; ``image`` may be text (JSON) or bytes (an uploaded file).

    multipart: whether the endpoint takes that too, besides JSON.
    """
    content_type = request.headers.get("content-type", "")
    media = content_type.partition(";")[0].strip().lower()
    encoding = ", ".join(request.headers.getlist("content-encoding")) or "identity"
    if encoding.strip().lower() != "identity":
        raise UnsupportedType(
            f"Content-Encoding has value '{clean(encoding)}'. Send the body as it is, not compressed.",
            code="unsupported_encoding",
        )
    try:
        async with asyncio.timeout(settings.body_timeout_s):
            if media == "application/json" or (media.startswith("application/") and media.endswith("+json")):
                return parse_json(await request.body())
            if multipart and media == "multipart/form-data":
                return await _read_form(request, settings)
    except TimeoutError:
        raise BodyTimeout(f"The body did not arrive within {settings.body_timeout_s:g} s.") from None
    except ClientDisconnect:
        raise ClientGone("The client left while it was sending.") from None
    wanted = "application/json or multipart/form-data" if multipart else "application/json"
    raise UnsupportedType(f"Content-Type has value '{clean(content_type)}'. Send {wanted}.")


def parse_json(body: bytes) -> dict[str, Any]:
    """``body`` as a JSON object; a key that is given twice is refused: which one would count?"""
    if sum(map(body.count, (b",", b"[", b"{"))) > _MAX_PARTS:
        raise InvalidRequest(f"The JSON body has more than {_MAX_PARTS} parts.", code="invalid_json")
    try:
        parsed = _JSON.decode(body.decode(json.detect_encoding(body), "surrogatepass"))
    except RecursionError:
        raise InvalidRequest("The JSON body is nested too deeply.", code="invalid_json") from None
    except ValueError as error:
        where = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise InvalidRequest(f"The body is not valid JSON{where}.", code="invalid_json") from None
    if not isinstance(parsed, dict):
        raise InvalidRequest("The JSON body must be an object.", code="invalid_json")
    return parsed


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _given_twice(name)
            seen.add(name)
    return fields


_JSON = json.JSONDecoder(object_pairs_hook=_unique)  # made once; `json.loads` makes one for each body


def _given_twice(name: str) -> InvalidRequest:
    return InvalidRequest(
        f"The field '{clean(name)}' is given twice.", code="duplicate_field", param=clean(name)
    )


async def _read_form(request: Request, settings: Settings) -> dict[str, Any]:
    """Fields of a multipart body. Numbers are text there, so text that is a number becomes one."""
    fields: dict[str, Any] = {}
    try:
        async with aclosing(request.stream()) as stream:
            parser = _Parser(
                request.headers,
                stream,
                max_files=_MAX_FILES,
                max_fields=_MAX_FIELDS,
                max_part_size=settings.max_body_bytes,
            )
            parser.spool_max_size = settings.max_body_bytes + 1  # a client's picture never goes to disk
            try:
                form = await parser.parse()
                for name, value in form.multi_items():
                    if name in fields:
                        raise _given_twice(name)
                    fields[name] = await value.read() if isinstance(value, UploadFile) else value
            finally:  # a file that was cut off is in no form, but open
                for file in parser._files_to_close_on_error:
                    file.close()
    except (MultiPartException, ValueError, LookupError):
        raise InvalidRequest("The multipart body is malformed.", code="invalid_multipart") from None
    if isinstance(image := fields.get("image"), str) and not _is_address(image):
        try:
            fields["image"] = image_bytes(image)
        except InvalidImage as error:  # the name of a file, most likely
            raise InvalidImage(f"{error.message} {_AS_FILE}", code=error.code) from None
    for name in ("scale", "min_scale", "max_visual_tokens"):
        if isinstance(fields.get(name), str) and _INTEGER.fullmatch(fields[name]):
            fields[name] = int(fields[name])
    for name in ("token_budget", "accuracy_drop", "delta"):
        if isinstance(fields.get(name), str) and _DECIMAL.fullmatch(fields[name]):
            fields[name] = float(fields[name])
    cascade = fields.get("cascade")
    if isinstance(cascade, str):
        words = {"true": True, "false": False}
        fields["cascade"] = float(cascade) if _DECIMAL.fullmatch(cascade) else words.get(cascade, cascade)
    return fields


def picture_in(value: Any, fetcher: Fetcher | None) -> bytes | RemoteImage:
    """`image_bytes`, or with a ``fetcher`` an image by address, which is fetched when it is read."""
    if fetcher is not None and isinstance(value, str) and _is_address(value):
        return fetcher.image(value)
    return image_bytes(value)


def _is_address(text: str) -> bool:
    scheme = _SCHEME.match(text[:64])
    return scheme is not None and scheme[1].lower() in ("http", "https")


def image_bytes(value: Any) -> bytes:
    """The image file in a field: uploaded bytes, a data URI, or base64."""
    if value is None:
        raise InvalidRequest("The field 'image' is missing.", code="missing_field", param="image")
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise InvalidRequest(
            "The field 'image' must be a string: a data URI or base64.", code="invalid_type", param="image"
        )
    scheme = _SCHEME.match(value[:64])
    if scheme is None:
        return _base64(value)
    if scheme[1].lower() != "data":
        raise InvalidImage(
            "An image by this address is not fetched. Send its bytes as a data URI or base64.",
            code="image_url_unsupported",
        )
    head, comma, payload = value.partition(",")
    if not comma or not head.lower().rstrip().endswith(";base64"):
        raise InvalidImage("The data URI must read data:image/...;base64,DATA.", code="invalid_base64")
    return _base64(payload)


def _base64(text: str) -> bytes:
    try:
        data = text.encode("ascii")
        if b"%" in data:  # a data URI may percent-encode +, / and =, and line breaks
            for escape, character in _ESCAPES.items():
                data = data.replace(escape, character).replace(escape.lower(), character)
        return base64.b64decode(data.translate(None, b" \t\r\n\f\v"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise InvalidImage(
            "The image is not valid base64 (paths are not read here: send the file itself).",
            code="invalid_base64",
        ) from None
