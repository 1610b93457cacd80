"""What the playground says when the service refuses, is busy, is slow, or is not there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx
import pytest
from pydantic import SecretStr

from m3_backbone.fake import MARKERS, FakeEngine
from tests.browsing import browsing, give, playing, press, settled, until
from tests.serving import ScriptedRouter, app_of, picture, settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

KEY = "a-key-of-ours"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as started:
        yield started


def error(page: Page) -> str:
    assert page.is_hidden("#reply")
    assert page.get_attribute("#error", "role") == "alert"
    return page.inner_text("#error")


def test_a_key_is_asked_for_where_one_is_needed_and_stays_out_of_code_and_store(browser: Browser) -> None:
    app = app_of(router=ScriptedRouter(), config=settings(api_keys=SecretStr(KEY)))
    with playing(browser, app) as page:
        assert page.is_hidden("#key-field")
        press(page)
        assert "An API key is needed" in error(page)
        assert "missing_api_key" in error(page)
        assert page.evaluate("document.activeElement.id") == "key"
        page.keyboard.type("another key")
        press(page)
        assert "invalid_api_key" in error(page)
        page.fill("#key", KEY)
        press(page)
        assert page.is_hidden("#error")
        assert page.is_visible("#answer")
        assert "Bearer $M3_API_KEY" in page.inner_text("#code")
        until(page, "sessionStorage.getItem('m3-router-history') !== null")
        assert KEY not in page.evaluate("JSON.stringify(sessionStorage) + document.documentElement.innerHTML")


def test_a_rate_that_is_exceeded_says_when_to_try_again(browser: Browser) -> None:
    with playing(browser, app_of(router=ScriptedRouter(), config=settings(rate_limit=1))) as page:
        press(page)
        press(page)
        assert "Too many questions at once" in error(page)
        assert "rate_limited · status 429 · request " in error(page)
        again = page.get_by_role("button", name="Try again in")
        assert again.is_disabled()


def test_trying_again_asks_the_same_again(browser: Browser) -> None:
    with playing(browser) as page:
        page.route("**/v1/compare", lambda route: route.abort())
        press(page, "Compare all scales")
        assert "the service cannot be reached" in error(page)
        page.unroute("**/v1/compare")
        press(page, "Try again")
        assert page.is_hidden("#error")
        assert page.locator("#scales > li").count() == 5


def test_what_would_fail_again_offers_no_second_try(browser: Browser) -> None:
    app = app_of(FakeEngine(faults=MARKERS), ScriptedRouter())
    with playing(browser, app) as page:
        for question, code in (("Is it [oom]?", "out_of_memory"), ("Is it [exception]?", "engine_error")):
            page.fill("#question", question)
            press(page)
            assert code in error(page)
            assert page.get_by_role("button", name="Try again").count() == 0


def test_an_error_of_a_proxy_that_is_no_json_can_be_read_too(browser: Browser) -> None:
    with playing(browser) as page:
        page.route("**/v1/answer", lambda route: route.fulfill(status=502, body="<h1>Bad Gateway</h1>"))
        press(page)
        assert "The service answered 502" in error(page)
        assert page.get_by_role("button", name="Try again").is_enabled()
        page.unroute("**/v1/answer")
        page.route("**/v1/answer", lambda route: route.fulfill(status=200, body="<h1>Welcome</h1>"))
        press(page)
        assert "no answer of this service" in error(page)


def test_a_picture_that_is_too_large_is_said_to_be_too_large(browser: Browser) -> None:
    app = app_of(router=ScriptedRouter(), config=settings(max_body_bytes=1_000_000))
    with playing(browser, app) as page:
        give(page, picture() + bytes(3_000_000))
        page.fill("#question", "What is this?")
        press(page)
        assert "too large" in error(page)
        give(page, picture(), "small.png")
        assert page.is_hidden("#error")
        press(page)
        assert page.is_visible("#answer")


def test_an_empty_question_marks_its_field_and_asks_nothing(browser: Browser) -> None:
    with playing(browser) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.fill("#question", "  ")
        press(page)
        assert "Write a question" in error(page)
        assert page.get_attribute("#question", "aria-invalid") == "true"
        assert page.evaluate("document.activeElement.id") == "question"
        assert asked == []
        page.fill("#question", "What is this?")
        press(page)
        assert page.get_attribute("#question", "aria-invalid") is None


def test_a_question_that_the_service_refuses_marks_its_field(browser: Browser) -> None:
    with playing(browser, app_of(router=ScriptedRouter(), config=settings(max_question_chars=20))) as page:
        page.fill("#question", "What is there to be seen in this picture?")
        press(page)
        assert "at most 20 are accepted" in error(page)
        assert page.get_attribute("#question", "aria-invalid") == "true"


def test_stopping_ends_the_request_in_the_service_too(browser: Browser) -> None:
    engine = FakeEngine(token_delay_s=1, answer_tokens=30)
    with playing(browser, app_of(engine, ScriptedRouter())) as page:
        page.get_by_role("button", name="Ask", exact=True).click()
        until(page, "fetch('ready').then((r) => r.json()).then((b) => b.running === 1)")
        page.get_by_role("button", name="Stop").click()
        settled(page)
        assert page.inner_text("#said") == "Stopped."
        assert page.is_hidden("#error")
        assert page.is_hidden("#stop")
        assert page.evaluate("document.activeElement.id") == "ask"
        until(page, "fetch('ready').then((r) => r.json()).then((b) => b.running === 0)")
        assert httpx.get(page.url + "ready").json()["running"] == 0


def test_an_answer_about_a_picture_that_was_replaced_goes_to_the_history_alone(browser: Browser) -> None:
    engine = FakeEngine(faults=MARKERS)
    with playing(browser, app_of(engine, ScriptedRouter())) as page:
        page.fill("#question", "What is this? [hang]")
        page.get_by_role("button", name="Ask", exact=True).click()
        give(page, picture())
        engine.fake.released.set()
        settled(page)
        page.wait_for_selector("#history button")
        assert page.is_hidden("#reply")
        assert page.inner_text("#caption") == ""
        assert page.locator("#history [aria-current]").count() == 0


def test_a_service_that_is_not_ready_is_waited_for(browser: Browser) -> None:
    with playing(browser) as page:
        error = {"message": "The model is not ready.", "type": "t", "param": None, "code": "not_ready"}
        page.route("**/ready", lambda route: route.fulfill(status=503, json={"error": error}))
        page.reload()
        page.wait_for_selector("#light.off")
        assert page.inner_text("#served") == "The model is not ready."
        page.unroute("**/ready")
        page.wait_for_selector("#light.on")
        assert "scripted" in page.inner_text("#served")
