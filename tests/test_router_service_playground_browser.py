"""The playground at work in a browser, on the fake engine: what it shows is what the API says."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from PIL import Image

from m3_backbone.fake import FakeEngine
from m3_backbone.types import Aspect
from router.settings import Settings
from tests.browsing import browsing, give, playing, press, until
from tests.image_files import encoded, pixels
from tests.playground_examples import STATIC, shipped
from tests.playground_measures import LINES
from tests.serving import ScriptedRouter, app_of, picture

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FIRST = shipped()[0]  # the page opens with the first
QUESTION, RIGHT = FIRST["questions"][0]["text"], FIRST["questions"][0]["answer"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as started:
        yield started


def post(page: Page, path: str, image: bytes, **fields: object) -> Any:
    response = httpx.post(page.url + path, files={"image": image}, data=fields, timeout=60)
    assert response.status_code == 200
    return response.json()


def example(family: str) -> bytes:
    return (STATIC / f"{family}.png").read_bytes()


def test_an_examples_question_shows_what_the_api_says_of_it(browser: Browser) -> None:
    with playing(browser) as page:
        press(page, QUESTION)
        said = post(page, "v1/answer", example(FIRST["family"]), question=QUESTION)
        assert page.inner_text("#answer") == said["answer"]
        assert page.inner_text("#asked") == QUESTION
        assert page.inner_text("#saved") == "36 visual tokens of 576, chosen by the router"
        assert page.inner_text("#caption") == "36 visual tokens, 6 × 6, chosen by the router"
        assert said["scale"] == 36
        rows = page.locator("#ladder tr").all_inner_texts()
        assert [row.split()[0].rstrip(",") for row in rows] == list(said["decision"]["probabilities"])
        assert [row.split()[-1] for row in rows] == ["20%", "50%", "90%", "91%", "91%"]
        assert page.inner_text("#ladder tr.chosen th").startswith("36")
        assert "36 of 576, 94% fewer" in page.inner_text("#cost")
        saved = 1 - said["cost"]["flops"] / said["cost"]["full_flops"]
        assert f"{100 * saved:.0f}% fewer" in page.inner_text("#cost")
        assert said["decision"]["reason"] in page.inner_text("#reason")


def test_the_scale_is_drawn_over_the_picture_one_cell_for_each_token(browser: Browser) -> None:
    with playing(browser) as page:
        for scale, side in ((1, 1), (9, 3), (36, 6), (144, 12), (576, 24)):
            page.evaluate("(scale) => stage.show(gridOf(scale, scale, ''))", scale)
            assert page.evaluate(LINES, [0, 1, 0.5 / side]) == side + 1


def test_padding_has_tokens_too_and_several_views_are_said_to_be_several(browser: Browser) -> None:
    wide = encoded(pixels(400, 200), "PNG")
    with playing(browser) as page:
        give(page, wide)
        page.evaluate("stage.show(gridOf(36, 36, ''))")
        assert page.evaluate(LINES, [0, 1, 0.08]) == 7  # above the picture
    with playing(browser, app_of(FakeEngine(views=5), ScriptedRouter())) as page:
        give(page, wide)
        page.fill("#question", "What is here?")
        press(page)
        tokens = post(page, "v1/answer", wide, question="What is here?")["visual_tokens"]
        assert tokens % 5 == 0
        assert f"{tokens} visual tokens" in page.inner_text("#saved").replace(",", "")
        assert "for each of several views, here that of the whole picture" in page.inner_text("#caption")
        assert page.evaluate(LINES, [0, 1, 0.08]) == 0
        assert page.evaluate(LINES, [0, 1, 0.28]) > 1


def test_of_a_model_that_sees_the_middle_of_pictures_the_grid_lies_there(browser: Browser) -> None:
    class Cropping(FakeEngine):
        @property
        def aspect(self) -> Aspect:
            return "square"

    with playing(browser, app_of(Cropping(), ScriptedRouter())) as page:
        give(page, encoded(pixels(400, 200), "PNG"))
        page.evaluate("stage.show(gridOf(36, 36, ''))")
        assert "the model sees the middle" in page.inner_text("#caption")
        assert page.evaluate(LINES, [0, 1, 0.08]) == 0  # above the picture
        assert page.evaluate(LINES, [0, 0.24, 0.28]) == 0  # what is cut off
        assert page.evaluate(LINES, [0.24, 0.76, 0.28]) == 7


def test_a_slider_forces_a_scale_and_shows_its_grid_before_anything_is_asked(browser: Browser) -> None:
    with playing(browser) as page:
        page.get_by_role("radio", name="Fixed scale").check(force=True)
        slider = page.get_by_role("slider", name="Scale")
        slider.focus()
        page.keyboard.press("Home")
        page.keyboard.press("ArrowRight")
        assert slider.get_attribute("aria-valuetext") == "9 visual tokens"
        assert page.inner_text("#caption") == "9 visual tokens, 3 × 3, as you set it"
        press(page)
        assert page.inner_text("#saved") == "9 visual tokens of 576, as you asked"
        assert page.inner_text("#reason").startswith("fixed: scale 9 was asked for")
        slider.focus()
        page.keyboard.press("End")
        assert page.inner_text("#caption") == "576 visual tokens, 24 × 24, as you set it"
        page.get_by_role("radio", name="Router").check(force=True)
        assert page.inner_text("#caption") == "9 visual tokens, 3 × 3, as you asked"  # of the answer


@pytest.mark.parametrize(
    ("target", "slider", "first", "last"),
    [
        ("Mean budget", "Visual tokens per question", "token budget 1:", "token budget 576:"),
        ("Accuracy drop", "Accuracy lost", "accuracy drop 0.005 (", "accuracy drop 0.2 ("),
    ],
)
def test_a_slider_asks_for_a_target(
    browser: Browser, target: str, slider: str, first: str, last: str
) -> None:
    with playing(browser) as page:
        page.get_by_role("radio", name=target).check(force=True)
        handle = page.get_by_role("slider", name=slider)
        for key, expected in (("Home", first), ("End", last)):
            handle.focus()
            page.keyboard.press(key)
            press(page)
            assert expected in page.inner_text("#reason")


def test_all_scales_stand_side_by_side_with_the_chosen_one_marked(browser: Browser) -> None:
    with playing(browser) as page:
        page.fill("#question", QUESTION)
        press(page, "Compare all scales")
        said = post(page, "v1/compare", example(FIRST["family"]), question=QUESTION)
        cards = page.locator("#scales > li")
        assert cards.locator(".answer").all_inner_texts() == [at["answer"] for at in said["answers"]]
        assert cards.locator("h3").all_inner_texts() == [
            f"{n} visual token{'s' * (n > 1)}" for n in (1, 9, 36, 144, 576)
        ]
        assert page.locator("#scales > li.chosen h3").all_inner_texts() == ["36 visual tokens"]
        right = [text == "✓ right" for text in cards.locator(".marks").all_inner_texts()]
        assert right == [at["answer"] == RIGHT for at in said["answers"]]
        tops = {round(card.bounding_box()["y"]) for card in cards.all()}  # type: ignore[index]
        assert len(tops) == 1
        press(page)
        assert page.is_hidden("#comparison")


def test_a_scale_whose_prompt_does_not_fit_says_so_in_its_place(browser: Browser) -> None:
    with playing(browser, app_of(FakeEngine(context_tokens=400), ScriptedRouter())) as page:
        press(page, "Compare all scales")
        last = page.locator("#scales > li").last
        assert "longer than the model's context" in last.inner_text()
        assert page.locator("#scales .answer").count() == 4


@pytest.mark.parametrize("how", ["choose", "drop", "paste"])
def test_a_picture_is_chosen_dropped_or_pasted_and_sent_as_it_is(browser: Browser, how: str) -> None:
    photo = encoded(pixels(90, 60), "JPEG", quality=80)
    with playing(browser) as page:
        give(page, photo, f"{how}.jpg", how)
        assert page.locator(".example[aria-pressed=true]").count() == 0
        assert page.is_hidden("#chips")
        page.fill("#question", "What is this?")
        press(page)
        assert page.get_attribute("#canvas", "aria-label") == (
            f"{how}.jpg. 36 visual tokens, 6 × 6, chosen by the router"
        )
        said = post(page, "v1/answer", photo, question="What is this?")
        assert page.inner_text("#answer") == said["answer"]
        assert page.is_hidden("#truth")


def test_a_photograph_stands_upright_under_the_grid_as_the_model_sees_it(browser: Browser) -> None:
    lying = Image.new("RGB", (60, 30), "red")
    turned = lying.getexif()
    turned[0x0112] = 6  # turn by 90 degrees
    with playing(browser) as page:
        give(page, encoded(lying, "JPEG", exif=turned), "turned.jpg")
        assert page.evaluate("[stage.picture.image.naturalWidth, stage.picture.image.naturalHeight]") == [
            30,
            60,
        ]


def test_a_file_that_the_browser_cannot_show_still_gets_the_services_word(browser: Browser) -> None:
    with playing(browser) as page:
        give(page, example(FIRST["family"])[:900] + bytes(100), "broken.png")
        press(page)
        assert "This picture cannot be used" in page.inner_text("#error")
        assert page.evaluate("document.activeElement.id") == "file"


def test_the_history_leads_back_outlives_a_reload_and_is_cleared(browser: Browser) -> None:
    with playing(browser) as page:
        press(page, QUESTION)
        give(page, picture("blue"))
        page.fill("#question", "What colour is this?")
        page.get_by_role("radio", name="Fixed scale").check(force=True)
        press(page)
        answers = page.locator("#history .a").all_inner_texts()
        assert page.locator("#history .q").all_inner_texts() == ["What colour is this?", QUESTION]
        assert answers[0] == page.inner_text("#answer")
        page.locator("#history button").last.click()
        assert page.inner_text("#answer") == answers[1]
        assert page.input_value("#question") == QUESTION
        assert page.is_checked("input[value=router]")
        assert page.locator(".example[aria-pressed=true]").inner_text() == FIRST["family"]
        until(page, "JSON.parse(sessionStorage.getItem('m3-router-history'))?.entries.length === 2")
        page.reload()
        until(page, "past.entries.length === 2 && target.scales.length > 0")
        page.locator("#history button").first.click()
        assert page.inner_text("#answer") == answers[0]
        assert page.inner_text("#saved") == "36 visual tokens of 576, as you asked"
        assert page.get_attribute("#history button", "aria-current") == "true"
        page.get_by_role("button", name="Clear the history").click()
        assert page.locator("#history li").count() == 0
        page.reload()
        page.wait_for_selector("#light.on")
        assert page.locator("#history li").count() == 0


def test_the_oldest_leave_the_history_before_the_browsers_store_is_full(browser: Browser) -> None:
    noise = random.Random(0)
    with playing(browser) as page:
        for number in range(3):
            large = picture() + noise.randbytes(1_400_000)  # what follows a PNG's end is not read
            give(page, large, f"{number}.png")
            page.fill("#question", f"Number {number}?")
            press(page)
        until(
            page,
            "JSON.parse(sessionStorage.getItem('m3-router-history'))?.entries[0].question === 'Number 2?'",
        )
        page.reload()
        until(page, "past.entries.length > 0")
        assert page.locator("#history .q").all_inner_texts() == ["Number 2?", "Number 1?"]


def test_what_m3_tiny_can_answer_is_said_where_it_is_served_and_nowhere_else(browser: Browser) -> None:
    config = Settings(engine="torch", route_timeout_s=30)  # what the page is told; the engine is the fake one
    tiny = app_of(FakeEngine(name="tiny"), ScriptedRouter(), config)
    with playing(browser, tiny) as page:
        assert "answers questions about generated pictures" in page.inner_text("#tiny")
        assert page.is_hidden("#made-up")
        assert page.is_hidden("#foreign")
        press(page, QUESTION)
        assert f"The right answer is “{RIGHT}”." in page.inner_text("#truth")
        give(page, picture())
        assert "do not believe" in page.inner_text("#foreign")
    other = app_of(FakeEngine(name="llava-v1.5-7b-m3"), ScriptedRouter(), config)
    with playing(browser, other) as page:
        assert page.is_hidden("#tiny")
        assert "llava-v1.5-7b-m3" in page.inner_text("#served")
    with playing(browser) as page:
        assert page.is_hidden("#tiny")
        assert "made up" in page.inner_text("#made-up")


def test_without_a_router_the_page_says_that_the_full_scale_is_a_fallback(browser: Browser) -> None:
    with playing(browser, app_of()) as page:
        assert "no router loaded" in page.inner_text("#served")
        press(page)
        assert page.inner_text("#saved") == "576 visual tokens of 576, as a fallback: no router is loaded"
        assert page.is_hidden("#odds")
        assert "as many" in page.inner_text("#cost")
