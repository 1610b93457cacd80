"""``/``: one static page to try the service in a browser."""

from __future__ import annotations

from functools import lru_cache

from fastapi import APIRouter
from starlette.responses import HTMLResponse

from router.service.playground import page
from router.service.security import page_headers

router = APIRouter(include_in_schema=False)


@lru_cache(maxsize=1)
def _headers() -> dict[str, str]:
    return page_headers(page())


@router.get("/", response_class=HTMLResponse)
async def playground() -> HTMLResponse:
    return HTMLResponse(page(), headers=_headers())
