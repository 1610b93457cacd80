"""The code that the playground shows does what the page does: it is run as it stands."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from tests.browsing import browsing, give, playing, press
from tests.playground_examples import shipped
from tests.serving import ScriptedRouter, app_of, picture, settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

KEY = "a-key-of-ours"
QUESTION = """What's "this"; $HOME `id` \\n @x <y> é?"""
NAME = """my "odd";pic,ture's.png"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as started:
        yield started


def run(command: list[str], folder: Path) -> str:
    """What ``command`` prints, with a picture called `NAME` beside it and the key in the environment."""
    (folder / NAME).write_bytes(picture())
    environment = {**os.environ, "M3_API_KEY": KEY, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def code(page: Page, language: str) -> str:
    page.get_by_role("radio", name=language, exact=True).check(force=True)
    text = page.locator("#code").text_content()
    assert text
    return text


def at_scale_9(page: Page) -> None:
    page.get_by_role("radio", name="Fixed scale").check(force=True)
    page.get_by_role("slider", name="Scale").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")


def test_curl_python_and_openais_client_get_the_pages_answer(browser: Browser, tmp_path: Path) -> None:
    with playing(browser) as page:
        give(page, picture(), NAME)
        page.fill("#question", QUESTION)
        at_scale_9(page)
        press(page)
        answer = page.inner_text("#answer")
        if shutil.which("curl"):
            said = json.loads(run(["sh", "-c", code(page, "curl")], tmp_path))
            assert (said["answer"], said["scale"]) == (answer, 9)
        printed = run([sys.executable, "-c", code(page, "Python")], tmp_path)
        assert printed.startswith(f"{answer} 9 ")
        pytest.importorskip("openai")
        printed = run([sys.executable, "-c", code(page, "OpenAI’s client")], tmp_path)
        assert printed == f"{answer} fake@9\n"


def test_the_code_sends_the_key_where_one_is_needed(browser: Browser, tmp_path: Path) -> None:
    app = app_of(router=ScriptedRouter(), config=settings(api_keys=SecretStr(KEY)))
    with playing(browser, app) as page:
        give(page, picture(), NAME)
        page.fill("#question", QUESTION)
        press(page)  # refused: from here on it is known that a key is needed
        page.fill("#key", KEY)
        press(page)
        answer = page.inner_text("#answer")
        if shutil.which("curl"):
            assert json.loads(run(["sh", "-c", code(page, "curl")], tmp_path))["answer"] == answer
        assert run([sys.executable, "-c", code(page, "Python")], tmp_path).startswith(answer)


@pytest.mark.parametrize(
    ("target", "curl", "python"),
    [
        ("Router", "", ""),
        ("Mean budget", "-F token_budget=576", ", token_budget=576"),
        ("Accuracy drop", "-F accuracy_drop=0.2", ", accuracy_drop=0.2"),
    ],
)
def test_the_code_follows_the_form(browser: Browser, target: str, curl: str, python: str) -> None:
    with playing(browser) as page:
        page.get_by_role("radio", name=target).check(force=True)
        if curl:
            page.locator("#value").focus()
            page.keyboard.press("End")
        name, question = f"{shipped()[0]['family']}.png", page.input_value("#question")
        more = f" \\\n  {curl}" if curl else ""
        assert code(page, "curl").endswith(f"--form-string 'question={question}'{more}")
        assert f'client.answer("{name}", "{question}"{python})' in code(page, "Python")


def test_the_code_is_copied_and_the_picture_saved(browser: Browser) -> None:
    with playing(browser) as page:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        shown = code(page, "Python")
        page.get_by_role("button", name="Copy", exact=True).click()
        page.wait_for_selector("text=Copied.")
        assert page.evaluate("navigator.clipboard.readText()") == shown
        data = picture("blue")
        give(page, data, "mine.png")
        with page.expect_download() as saved:
            page.get_by_role("link", name="Save the picture").click()
        assert saved.value.suggested_filename == "mine.png"
        assert Path(saved.value.path()).read_bytes() == data
