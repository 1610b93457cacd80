"""What was seen to be unclear on the page: each with what it looks like now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.browsing import browsing, give, playing, press
from tests.serving import picture

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as started:
        yield started


@pytest.mark.parametrize("width", [390, 1280])
def test_what_is_said_of_a_picture_that_cannot_be_shown_covers_nothing_else(
    browser: Browser, width: int
) -> None:
    with playing(browser, width=width) as page:
        give(page, b"no picture", name="a-very-long-name-of-a-file-" * 4 + ".png")
        hint, choose = page.locator("#hint").bounding_box(), page.locator("label[for=file]").bounding_box()
        assert hint is not None
        assert choose is not None
        assert hint["height"] >= 200
        assert hint["y"] + hint["height"] <= choose["y"]
        assert page.evaluate(
            "(hint => hint.scrollHeight <= hint.offsetHeight)(document.getElementById('hint'))"
        )


def test_what_the_page_refuses_itself_claims_no_status_of_the_service(browser: Browser) -> None:
    with playing(browser) as page:
        page.fill("#question", " ")
        press(page)
        said = page.inner_text("#error")
        assert "Write a question" in said
        assert "status" not in said
        give(page, b"no picture")
        page.fill("#question", "What?")
        press(page)
        assert "image_format · status 400 · request " in page.inner_text("#error")


def test_cards_of_a_picture_without_a_right_answer_have_no_place_for_it(browser: Browser) -> None:
    with playing(browser) as page:
        page.fill("#question", page.locator("#chips button").first.inner_text())
        press(page, "Compare all scales")
        assert page.locator("#scales .marks").count() == 5
        give(page, picture())
        page.fill("#question", "What?")
        press(page, "Compare all scales")
        assert page.locator("#scales li").count() == 5
        assert page.locator("#scales .marks").count() == 0


def test_a_reason_names_its_policy_once(browser: Browser) -> None:
    with playing(browser) as page:
        page.fill("#question", "What?")
        page.get_by_role("radio", name="Mean budget").check(force=True)
        press(page)
        said = page.inner_text("#reason")
        assert said.startswith("token budget ")
        assert said.count("token budget") == 1
