"""The environment is read in one place, and what is wrong with it is said in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from router.errors import M3Error
from router.settings import Settings, SettingsError, unknown_variables


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("M3_"):
            monkeypatch.delenv(name)


def test_defaults_serve_the_embedded_backbone_and_bundle_on_this_machine_only() -> None:
    settings = Settings.load()
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert (settings.backbone, settings.bundle, settings.engine) == ("tiny", "embedded", "torch")


def test_an_option_wins_over_the_environment_which_wins_over_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("M3_PORT", "9001")
    monkeypatch.setenv("M3_DECISION_LOG", "decisions")
    assert Settings.load().port == 9001
    assert Settings.load(port=9002, host=None).port == 9002
    assert Settings.load().decision_log == Path("decisions")


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("M3_PORT", "")
    assert Settings.load().port == 8000


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("M3_PORT", "eighty"),
        ("M3_PORT", "65536"),
        ("M3_ENGINE", "tensorflow"),
        ("M3_DTYPE", "int4"),
        ("M3_QUEUE_SIZE", "0"),
        ("M3_REQUEST_TIMEOUT_S", "nan"),
        ("M3_TOKEN_BUDGET", "-1"),
        ("M3_LOG_LEVEL", "loud"),
        ("M3_WATCH_SHARE", "1.5"),
        ("M3_WATCH_MIN_AGREEMENT", "0"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_its_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    assert str(caught.value).startswith(f"{variable} has value '{value}'. ")
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, M3Error)


def test_two_wrong_values_are_both_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("M3_PORT", "x")
    monkeypatch.setenv("M3_BATCH_SIZE", "y")
    with pytest.raises(SettingsError, match=r"M3_PORT has value 'x'.*M3_BATCH_SIZE has value 'y'"):
        Settings.load()


def test_two_targets_exclude_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("M3_TOKEN_BUDGET", "36")
    monkeypatch.setenv("M3_PRICE", "0.1")
    with pytest.raises(
        SettingsError, match=r"^M3_TOKEN_BUDGET and M3_PRICE are both set\. Set one of them\.$"
    ):
        Settings.load()


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Settings.load().port = 1


def test_a_misspelt_variable_is_found_with_the_name_that_was_meant() -> None:
    environ = {"M3_PROT": "1", "M3_PORT": "1", "M3_ZZZZZZZZ": "1", "PATH": "x"}
    assert unknown_variables(environ) == [
        "M3_PROT is set, but no setting has that name. Did you mean M3_PORT?",
        "M3_ZZZZZZZZ is set, but no setting has that name.",
    ]
