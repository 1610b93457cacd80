"""The playground for everybody: by keyboard, for screen readers, on a phone, in the light and in the dark."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.browsing import browsing, playing, press, settled, until
from tests.playground_examples import shipped
from tests.playground_measures import FOCUSED, LEVELS, LOW_CONTRAST, OVERFLOW, OVERLAPS, REVEAL, SMALL

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as started:
        yield started


def tabbed(page: Page) -> list[str]:
    """What Tab leads to, from the top of the page to its end: ids, values, or texts."""
    page.evaluate(
        "() => { document.activeElement.blur(); getSelection().removeAllRanges(); scrollTo(0, 0); }"
    )
    found: list[str] = []
    while len(found) < 60:
        page.keyboard.press("Tab")
        at = page.evaluate(FOCUSED)
        if not at:
            break
        found.append(at)
    return found


def test_tab_goes_through_the_page_in_the_order_of_reading(browser: Browser) -> None:
    with playing(browser) as page:
        examples = [each["family"] for each in shipped()]
        questions = page.locator("#chips button").all_inner_texts()
        assert len(questions) == 4
        form = ["file", "gridded", *examples, "question", *questions, "router", "ask", "compare"]
        code = ["curl", "code", "copy", "save"]
        assert tabbed(page) == [*form, *code]
        press(page)
        page.reload()  # so that Tab begins at the top again
        until(page, "past.entries.length === 1 && !document.getElementById('canvas').hidden")
        entry = page.locator("#history button").inner_text().strip()
        assert tabbed(page) == [*form, "clear", entry, *code]


def test_everything_is_done_by_keyboard_and_the_answer_is_spoken(browser: Browser) -> None:
    with playing(browser) as page:
        page.locator(".example").nth(1).focus()
        page.keyboard.press("Enter")
        until(page, "(name) => stage.picture.name === name", f"{shipped()[1]['family']}.png")
        page.locator("#question").focus()
        page.keyboard.press("Enter")
        settled(page)
        said = page.locator("#said")
        assert said.get_attribute("role") == "status"
        answer = page.inner_text("#answer")
        assert said.inner_text() == f"Answer: {answer}. 36 visual tokens of 576, chosen by the router."
        assert page.evaluate("document.activeElement.id") == "question"  # nothing takes it away
        page.locator("input[value=router]").focus()
        page.keyboard.press("ArrowRight")
        assert page.evaluate("target.name") == "scale"
        page.keyboard.press("Tab")
        page.keyboard.press("Home")
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "compare"
        page.keyboard.press("Space")
        settled(page)
        assert "1 visual token of 576, as you asked" in said.inner_text()
        assert page.locator("#scales > li").count() == 5


def test_every_control_and_picture_has_a_name_and_a_role(browser: Browser) -> None:
    with playing(browser) as page:
        page.get_by_role("radio", name="Fixed scale").check(force=True)
        press(page, "Compare all scales")
        tree = page.locator("body").aria_snapshot()
        assert len(re.findall(r"- (?:button|radio|checkbox|slider) ", tree)) > 20
        nameless = r"- (button|textbox|slider|radio|checkbox|link|img|radiogroup|form|table)\b(?! \")"
        assert [line for line in tree.splitlines() if re.search(nameless, line)] == []
        for role, name in (
            ("form", "Ask"),
            ("region", "Answer"),
            ("region", "All scales side by side"),
            ("region", "History"),
            ("region", "The same from code"),
            ("group", "Who decides how many visual tokens"),
            ("slider", "Scale"),
            ("textbox", "Question"),
            ("img", "9 visual tokens, 3 × 3, drawn over the picture"),
        ):
            assert page.get_by_role(role, name=name).count() == 1, (role, name)  # type: ignore[arg-type]
        assert page.locator("html").get_attribute("lang") == "en"
        levels = page.evaluate(LEVELS)
        assert levels[0] == 1
        assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(browser: Browser, dark: bool) -> None:
    with playing(browser, dark=dark) as page:
        page.evaluate(REVEAL)
        press(page, "Compare all scales")
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", background)[:3])) < 200) is dark
        seen = page.evaluate(LOW_CONTRAST)
        assert seen["seen"] > 80
        assert seen["found"] == []
        page.fill("#question", "")
        press(page)
        assert page.evaluate(LOW_CONTRAST)["found"] == []


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_sticks_out_at_any_width_and_fingers_find_every_control(browser: Browser, width: int) -> None:
    with playing(browser, width=width, height=844) as page:
        page.evaluate(REVEAL)
        page.get_by_role("radio", name="Accuracy drop").check(force=True)
        press(page, "Compare all scales")
        assert page.evaluate(OVERFLOW) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(SMALL) == []
        press(page)  # without the comparison
        for place in (0, 400, 10_000):
            page.evaluate("(place) => scrollTo(0, place)", place)
            assert page.evaluate(OVERLAPS) == []


def test_on_a_phone_the_answer_comes_into_view(browser: Browser) -> None:
    with playing(browser, width=390, height=700) as page:
        press(page, shipped()[0]["questions"][0]["text"])
        box = page.locator("#answer").bounding_box()
        assert box is not None
        assert 0 <= box["y"] < 700
