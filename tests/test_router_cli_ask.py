"""``ask`` and ``route`` on the fake engine: what they print, and how they refuse."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from m3_backbone.fake import FakeEngine
from tests.commandline import Run, is_one_line, runner
from tests.serving import ScriptedRouter, picture
from tests.test_router_service_cascade import Thinking


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(monkeypatch, capsys)


@pytest.fixture
def routed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake engine has no bundle of its own; a scripted router stands in for one."""
    monkeypatch.setattr("router.cli.loading.load_router", lambda settings, engine: ScriptedRouter())


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.png"
    path.write_bytes(picture())
    return path


@pytest.mark.usefixtures("routed")
def test_ask_prints_the_answer_the_scale_and_what_was_saved(run: Run, image: Path) -> None:
    done = run("ask", image, "What colour?", "--engine", "fake")
    assert done.code == 0, done.err
    answer, blank, scale, tokens, flops, time, *_ = done.out.splitlines()
    assert answer
    assert blank == ""
    assert scale.startswith("scale    36  (utility: expected score ")
    assert tokens == "tokens   36 of 576 (94% less)"
    assert flops.startswith("FLOPs    ")
    assert "% less" in flops
    assert " ms of " in time


@pytest.mark.usefixtures("routed")
def test_ask_as_json_is_the_services_answer_with_the_full_scale_beside_it(run: Run, image: Path) -> None:
    done = run("ask", image, "What colour?", "--engine", "fake", "--json")
    body = json.loads(done.out)
    assert body["scale"] == 36
    assert set(body["timings_ms"]) == {"decode", "encode", "route", "generate", "total"}
    assert body["full"]["scale"] == 576
    assert body["full"]["answer"]


def test_ask_without_comparison_runs_the_full_scale_only_if_it_is_chosen(run: Run, image: Path) -> None:
    done = run("ask", image, "What colour?", "--engine", "fake", "--json", "--no-compare", "--scale", 9)
    body = json.loads(done.out)
    assert (body["scale"], body["decision"]["policy"]) == (9, "fixed")
    assert "full" not in body


@pytest.mark.usefixtures("routed")
def test_frames_of_a_clip_are_one_prompt_each_at_its_own_scale(run: Run, image: Path, tmp_path: Path) -> None:
    frames = []
    for number in range(3):
        frames.append(tmp_path / f"frame-{number}.png")
        frames[-1].write_bytes(picture(size=(40 + number, 30)))
    more = [word for frame in frames for word in ("--image", frame)]
    done = run("ask", image, "What happens?", *more, "--engine", "fake", "--json")
    body = json.loads(done.out)
    assert body["scales"] == [36] * 4
    assert (body["scale"], body["visual_tokens"]) == (36, 4 * 36)
    assert "full" not in body
    shared = run("ask", image, "What?", *more, "--engine", "fake", "--json", "--max-visual-tokens", 44)
    assert json.loads(shared.out)["scales"] == [9] * 4
    forced = run("ask", image, "What?", *more, "--engine", "fake", "--scale", 144)
    assert "scales   144, 144, 144, 144" in forced.out
    assert "tokens   576 of 2304" in forced.out


def test_one_image_of_several_that_cannot_be_read_is_named(run: Run, image: Path) -> None:
    done = run("ask", image, "What?", "--image", image.with_name("nowhere.png"), "--engine", "fake")
    assert is_one_line(done), done
    assert "nowhere.png" in done.err


def test_one_image_of_several_that_is_none_is_named_before_a_model_is_loaded(
    run: Run, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = image.with_name("README.md")
    text.write_text("no picture")
    monkeypatch.setattr("router.cli.loading.load_engine", lambda settings: pytest.fail("loads a model"))
    done = run("ask", image, "What?", "--image", text)
    assert is_one_line(done), done
    assert f"IMAGE has value '{text}'. Not an image in one of the accepted formats" in done.err


def test_without_a_router_ask_says_why_the_full_scale_answered(run: Run, image: Path) -> None:
    done = run("ask", image, "What colour?", "--engine", "fake")
    assert "fallback to the largest scale allowed: no router is loaded" in done.out
    assert "tokens   576 of 576 (0% less)" in done.out


@pytest.mark.usefixtures("routed")
def test_route_prints_the_decision_and_the_probabilities(run: Run, image: Path) -> None:
    done = run("route", image, "What colour?", "--engine", "fake", "--max-visual-tokens", 20)
    first, *rest = done.out.splitlines()
    assert first.startswith("scale 9  (utility: ")
    assert [line.split()[0] for line in rest] == ["1", "9", "36", "144", "576"]
    assert [("<- chosen" in line) for line in rest] == [False, True, False, False, False]
    assert rest[0].startswith("     1 token is enough with P = ")
    assert rest[1].startswith("     9 tokens are enough with P = ")


@pytest.mark.usefixtures("routed")
def test_route_as_json_is_the_services_answer(run: Run, image: Path) -> None:
    body = json.loads(run("route", image, "What colour?", "--engine", "fake", "--json").out)
    assert body["scale"] == 36
    assert "answer" not in body


@pytest.mark.parametrize("verb", ["ask", "route"])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["missing.png", "What?"],
            "IMAGE has value 'missing.png'. It cannot be read (No such file or directory).",
        ),
        (["/dev/zero", "What?"], "IMAGE has value '/dev/zero'. It has more than"),
        (["{image}", ""], "The question is empty."),
        (["{image}", "What?", "--scale", "37"], "Valid scales: 1, 9, 36, 144, 576."),
        (["{image}", "What?", "--min-scale", "144", "--max-visual-tokens", "9"], "exclude each other"),
        (["{image}", "What?", "--token-budget", "nan"], "token_budget has value nan."),
        (["{text}", "What?"], "text.png'. Not an image"),
        (["{image}", "What?", "--engine", "none"], "M3_ENGINE has value 'none'."),
        (["{image}", "What?", "--bundle", "nowhere"], "nowhere"),
    ],
)
def test_a_domain_error_is_one_line_and_exit_code_2(
    run: Run, image: Path, tmp_path: Path, verb: str, arguments: list[str], words: str
) -> None:
    text = tmp_path / "text.png"
    text.write_text("not an image")
    filled = [argument.format(image=image, text=text) for argument in arguments]
    engine = [] if "--engine" in filled else ["--engine", "fake"]
    done = run(verb, *filled, *engine)
    assert is_one_line(done), done
    assert words in done.err


def test_comparing_leaves_the_time_of_encoding_the_image_in_the_answer(
    run: Run, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine()
    monkeypatch.setattr("router.cli.loading.load_engine", lambda settings: engine)
    encoded: list[float] = []
    encode = engine.fake.encode

    def slow(pixels: Any) -> Any:
        begin = time.perf_counter()
        time.sleep(0.05)
        encoded.append(1000 * (time.perf_counter() - begin))
        return encode(pixels)

    monkeypatch.setattr(engine.fake, "encode", slow)
    body = json.loads(run("ask", image, "What?", "--engine", "fake", "--json").out)
    assert body["timings_ms"]["encode"] >= encoded[-1] - 0.1  # it is rounded
    assert len(encoded) == 2  # the picture of the warm-up, and the one that was asked about


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_what_the_fake_engine_says_is_marked_as_made_up(run: Run, image: Path, as_json: list[str]) -> None:
    done = run("ask", image, "What?", "--engine", "fake", *as_json)
    assert "made up" in done.err
    assert "made up" not in done.out


def test_control_characters_of_an_answer_do_not_reach_the_terminal(
    run: Run, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("m3_backbone.fake._WORDS", ("\x1b[2Jred",))
    done = run("ask", image, "What?", "--engine", "fake")
    assert done.code == 0
    assert "\x1b" not in done.out
    assert "\ufffd[2Jred" in done.out


@pytest.mark.parametrize("how", [("--cascade",), ("--cascade-below", 0.9)])
def test_a_cascade_prints_its_passes(
    run: Run, image: Path, monkeypatch: pytest.MonkeyPatch, how: tuple[Any, ...]
) -> None:
    monkeypatch.setattr("router.cli.loading.load_router", lambda settings, engine: Thinking())
    done = run("ask", image, "What colour?", "--engine", "fake", "--no-compare", *how)
    assert done.code == 0, done.err
    assert "scale    144  (cascade: scripted)\npasses   36, then 144\ntokens   180 of 576" in done.out


@pytest.mark.usefixtures("routed")
def test_a_reason_that_begins_with_its_policy_names_it_once(run: Run, image: Path) -> None:
    for verb in ("ask", "route"):
        done = run(verb, image, "What colour?", "--engine", "fake", "--token-budget", 100)
        assert "36  (token budget 100: expected score" in done.out, done
