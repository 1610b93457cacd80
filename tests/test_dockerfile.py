"""The Dockerfile, as far as it can be checked without Docker."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def steps() -> list[tuple[str, str]]:
    """(instruction, the rest) of every step, in order."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines) if word]


def last_stage() -> list[tuple[str, str]]:
    begin = max(i for i, (word, _) in enumerate(steps()) if word == "FROM")
    return steps()[begin:]


def test_it_runs_as_somebody_who_is_not_root_and_writes_no_bytecode() -> None:
    ((_, user),) = [step for step in last_stage() if step[0] == "USER"]
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user)
    (environment,) = [rest for word, rest in last_stage() if word == "ENV"]
    assert "PYTHONDONTWRITEBYTECODE=1" in environment
    assert "HOME=/tmp" in environment


def test_nothing_is_copied_but_what_the_ignore_file_lets_in_and_no_secret_is_set() -> None:
    allowed = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line[:1] == "!"
    }
    copied = {
        name
        for word, rest in steps()
        if word == "COPY" and "--from" not in rest
        for name in rest.split()[:-1]
    }
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)
    assert "API_KEYS" not in " ".join(rest for word, rest in steps() if word in ("ENV", "ARG"))


def test_torch_is_the_version_of_the_makefile() -> None:
    pin = re.compile(r"torch==[0-9.]+[0-9]")
    (pinned,) = {*pin.findall((ROOT / "Makefile").read_text(encoding="utf-8"))}
    (taken,) = [found for _, rest in steps() for found in pin.findall(rest)]
    assert taken == pinned


def test_its_command_is_one_of_ours_and_its_health_check_is_python() -> None:
    (entry,) = [json.loads(rest) for word, rest in last_stage() if word == "ENTRYPOINT"]
    (command,) = [json.loads(rest) for word, rest in last_stage() if word == "CMD"]
    (health,) = [rest.partition("CMD ")[2] for word, rest in last_stage() if word == "HEALTHCHECK"]
    assert [*entry, *command] == ["m3-router", "serve"]
    python, flag, code = json.loads(health)
    assert (python, flag) == ("python", "-c")
    compile(code, "health", "exec")
    done = subprocess.run(
        [sys.executable, "-c", code], env={"M3_PORT": "1"}, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 1  # nobody listens there
