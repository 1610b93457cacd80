"""The README's own code runs, and its prose is true of what it tells. Its figures: `tests.test_shipped`."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import httpx
import pytest
import torch
from PIL import Image

from data.scalebench import PLANS, SPLIT_IMAGES
from data.splits import DEFAULT_FRACTIONS
from m3_backbone.config import M3Config
from m3_backbone.modules import build_modules
from router.client import Client
from tests.serving import ScriptedRouter, app_of, talking
from tests.test_router_client import forwarding
from training.bench.models import ARCHITECTURES
from training.cli.fit import FEW

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
PROSE = " ".join(TEXT.split())
CODE = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def one(words: str) -> str:
    """The piece of Python that has ``words`` in it."""
    (code,) = (code for code in CODE if words in code)
    return str(code)


def test_every_piece_of_python_is_run_by_a_test_here() -> None:
    assert sorted(CODE) == sorted([one("router.client"), one("data.scalebench")])


def test_the_generator_draws_as_the_readme_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(one("data.scalebench"), names)
    first, *questions = capsys.readouterr().out.splitlines()
    drawn = names["drawn"]
    assert first == f"{drawn.family} {drawn.image.size} {SPLIT_IMAGES['backbone-train']}"  # type: ignore[attr-defined]
    assert questions
    assert all(" -> " in line for line in questions)
    with Image.open(tmp_path / "drawn.png") as saved:
        assert saved.convert("RGB").tobytes() == drawn.image.convert("RGB").tobytes()  # type: ignore[attr-defined]


def test_the_client_asks_as_the_readme_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    with talking(app_of(router=ScriptedRouter())) as http:
        forward = forwarding(http)
        transport = httpx.MockTransport(lambda request: http.run(forward(request)))
        monkeypatch.setattr("router.client.Client", partial(Client, transport=transport))
        exec(one("router.client"), {})
    assert capsys.readouterr().out.strip()


def test_the_size_of_a_download_is_that_of_the_architecture() -> None:
    config, tower = ARCHITECTURES["llava-7b"]
    with torch.device("meta"):
        modules = build_modules(M3Config.parse(config), tower)
    parameters = sum(each.numel() for each in modules.parameters())
    assert f"{parameters / 1e9:.2f} billion parameters of two bytes each" in PROSE
    assert f"is about {2 * parameters / 1e9:.0f} GB" in PROSE


def test_the_images_of_the_shipped_router_are_as_many_as_the_readme_says() -> None:
    assert PLANS["router-train"].questions == (5, 5)
    assert f"fitted on {PLANS['router-train'].images:,} images with up to five questions each" in PROSE
    assert {PLANS[split].images for split in ("tune", "dev")} == {1250}
    assert f"`tune` and `dev` have 1,250 each, `certify` {PLANS['certify'].images:,}" in PROSE


def test_fit_tells_of_few_images_where_the_readme_says() -> None:
    assert FEW == 100
    assert "`fit` says so below a hundred in `router-train` or `tune`" in PROSE


def test_the_shares_of_the_splits_are_as_the_readme_says() -> None:
    assert dict(DEFAULT_FRACTIONS) == {
        "router-train": 1 / 2,
        **dict.fromkeys(("dev", "tune", "certify", "test"), 1 / 8),
    }
    assert "half of them to `router-train`, an eighth each to `dev`, `tune`, `certify` and `test`" in PROSE
