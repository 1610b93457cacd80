"""The playground's page as it is sent; `test_router_service_playground_browser` has it at work."""

from __future__ import annotations

import base64
import json
import re
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from router.service.playground import SCRIPTS, page
from tests.playground_examples import STATIC, drawn
from tests.playground_screenshot import WIDTH, take


def test_every_part_is_in_the_page_and_none_is_left_over() -> None:
    assert {path.stem for path in STATIC.glob("*.js")} == set(SCRIPTS)
    whole = page()
    for path in [*STATIC.glob("*.js"), *STATIC.glob("*.css")]:
        assert path.read_text(encoding="utf-8") in whole, path.name
    assert "{{" not in re.sub(r"\$\{\{", "", whole)


def test_ids_are_unique_and_the_script_names_none_that_is_not_there() -> None:
    html = (STATIC / "index.html").read_text(encoding="utf-8")
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    scripts = "".join((STATIC / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    assert set(re.findall(r'\$\("([^"]+)"\)', scripts)) <= set(ids)
    referred = re.findall(r'\b(?:for|aria-describedby|aria-labelledby)="([^"]+)"', html)
    assert set(referred) <= set(ids)


def test_the_examples_are_scalebenchs_pictures_questions_and_answers() -> None:
    """After a new edition of the generator: ``python -m tests.playground_examples``."""
    block = re.search(r'<script type="application/json" id="shipped">(.*?)</script>', page(), flags=re.DOTALL)
    assert block is not None
    shipped = json.loads(block[1])
    examples = drawn()
    assert len(shipped) == len(examples) == len({entry["family"] for entry in shipped})
    for sent, (entry, image) in zip(shipped, examples, strict=True):
        assert {"family": sent["family"], "questions": sent["questions"]} == entry
        with Image.open(BytesIO(base64.b64decode(sent["png"]))) as picture:
            assert picture.convert("RGB").tobytes() == image.convert("RGB").tobytes()


@pytest.mark.slow
def test_a_screenshot_on_m3_tiny_shows_the_answers_and_is_small(tmp_path: Path) -> None:
    take(tmp_path / "playground.png")
    assert (tmp_path / "playground.png").stat().st_size < 250_000
    with Image.open(tmp_path / "playground.png") as shot:
        assert shot.width == WIDTH
        assert shot.height > 1000
