"""``/``: one static page to try the service in a browser; it loads nothing from elsewhere."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

from fastapi import APIRouter
from starlette.responses import HTMLResponse

from router.service.security import page_headers

router = APIRouter(include_in_schema=False)


@lru_cache(maxsize=1)
def page() -> str:
    return (files("router.service") / "static" / "index.html").read_text(encoding="utf-8")


@router.get("/", response_class=HTMLResponse)
async def playground() -> HTMLResponse:
    return HTMLResponse(page(), headers=page_headers(page()))
