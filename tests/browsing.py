"""A browser for the tests of the playground, and a service on a socket for it to talk to.

Playwright drives the Chromium of the system; nothing is downloaded. Where one of the two is missing, the
tests skip.
"""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from fastapi import FastAPI

from tests.serving import ScriptedRouter, app_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MS = 120_000
"""How long an action waits for the page: machines are busy."""


GIVE = """([name, type, data, how]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type }));
  const made = { bubbles: true, cancelable: true };
  document.getElementById("question").dispatchEvent(how === "paste"
    ? new ClipboardEvent("paste", { ...made, clipboardData: transfer })
    : new DragEvent("drop", { ...made, dataTransfer: transfer }));
}"""


@contextmanager
def browsing() -> Iterator[Browser]:
    """Chromium; skips without it or without Playwright."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not there")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=str(CHROMIUM), args=list(ARGUMENTS), timeout=PATIENCE_MS
        )
        try:
            yield browser
        finally:
            browser.close()


def until(page: Page, condition: str, argument: object = None) -> None:
    """Waits until ``condition`` (JavaScript; a function takes ``argument``) is true.

    Playwright's own ``wait_for_function`` evaluates text in the page, which the page's policy forbids.
    """
    end = time.monotonic() + PATIENCE_MS / 1000
    while not page.evaluate(condition, argument):
        assert time.monotonic() < end, f"It never came true: {condition}"
        page.wait_for_timeout(50)


@contextmanager
def live(app: FastAPI) -> Iterator[str]:
    """The address of ``app`` on a socket, in a thread of this process."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="on", ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(60)


@contextmanager
def visiting(
    browser: Browser, address: str, *, width: int = 1280, height: int = 900, dark: bool = False
) -> Iterator[Page]:
    """The playground, open and connected.

    Afterwards: nothing was asked of any other address, no script failed, and nothing was refused by the
    page's own policy. Requests that the service refuses are no fault of the page.
    """
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    faults: list[str] = []

    def asked(request: Request) -> None:
        if not request.url.startswith((f"{address}/", "data:", "blob:")):
            faults.append(f"asked {request.url}")

    def said(message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            faults.append(message.text)

    page.on("request", asked)
    page.on("console", said)
    page.on("pageerror", lambda error: faults.append(str(error)))
    try:
        page.goto(address)
        page.wait_for_selector("#light.on")
        page.wait_for_selector("#canvas:not([hidden])")
        yield page
    finally:
        context.close()
    assert faults == []


@contextmanager
def playing(browser: Browser, app: Any = None, **how: Any) -> Iterator[Page]:
    """The page of ``app``, or of the fake engine with a router by script that likes scale 36."""
    with live(app or app_of(router=ScriptedRouter())) as address, visiting(browser, address, **how) as page:
        yield page


def settled(page: Page) -> None:
    """Waits until nothing is on its way any more."""
    until(page, "document.getElementById('result').getAttribute('aria-busy') === 'false'")


def press(page: Page, name: str = "Ask") -> None:
    """Presses a button that asks, and waits for what comes of it."""
    page.get_by_role("button", name=name, exact=True).click()
    settled(page)


def give(
    page: Page, data: bytes, name: str = "mine.png", how: str = "choose", type: str = "image/png"
) -> None:
    if how == "choose":
        page.set_input_files("#file", files={"name": name, "mimeType": type, "buffer": data})
    else:
        page.evaluate(GIVE, [name, type, base64.b64encode(data).decode(), how])
    until(page, "(name) => stage.picture.name === name", name)
