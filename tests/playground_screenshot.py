"""A picture of the playground on m3-tiny: ``python -m tests.playground_screenshot docs/playground.png``.

It asks a question of an example at all scales; another one may be named after the path.
"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path

from PIL import Image

from router.cli.loading import load_engine, load_router
from router.service.app import create_app
from router.settings import Settings
from tests.browsing import browsing, live, press, until, visiting
from tests.playground_examples import shipped

QUESTION = "Read the black sign."
WIDTH, HEIGHT = 1280, 900


def take(path: Path, question: str = QUESTION) -> None:
    """Writes a PNG of 256 colours: the page from its top to the end of the comparison.

    Raises ValueError when no example has the question.
    """
    families = [each["family"] for each in shipped() if question in (q["text"] for q in each["questions"])]
    if not families:
        raise ValueError(f"No example of the playground has the question {question!r}.")
    settings = Settings.load(route_timeout_s=30.0)
    engine = load_engine(settings)
    app = create_app(settings, engine, load_router(settings, engine))
    with browsing() as browser, live(app) as address, visiting(browser, address, width=WIDTH) as page:
        page.get_by_role("button", name=families[0], exact=True).click()
        until(page, "(name) => stage.picture.name === name", f"{families[0]}.png")
        page.fill("#question", question)
        press(page, "Compare all scales")
        page.evaluate("() => { document.activeElement.blur(); scrollTo(0, 0); }")
        page.wait_for_timeout(500)  # the small grids are drawn with the next frames
        box = page.locator("#comparison").bounding_box()
        assert box is not None
        whole = page.screenshot(full_page=True)
    with Image.open(BytesIO(whole)) as shot:
        cut = shot.convert("RGB").crop((0, 0, WIDTH, round(box["y"] + box["height"] + 9)))
    # Rare colours are kept; k-means moves the 256 to where most pixels are: backgrounds stay what they are.
    few = cut.quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


if __name__ == "__main__":
    take(Path(sys.argv[1]), *sys.argv[2:3])
