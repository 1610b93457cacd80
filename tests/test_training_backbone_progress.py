from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import torch

from training.backbone.progress import Clock, Every, Stop, rate_at, record, restore, save


def test_a_clock_goes_on_from_what_earlier_sessions_consumed() -> None:
    clock = Clock(100.0, consumed=40.0)
    assert 40.0 <= clock.consumed < 45.0
    assert 0.4 <= clock.share < 0.45
    assert clock.left in ("0:59 left", "1:00 left", "0:58 left")


def test_a_clock_without_a_budget_is_over_at_once() -> None:
    clock = Clock(0.0)
    while clock.consumed == 0.0:
        pass
    assert clock.share >= 1.0
    assert clock.left == "0:00 left"


def test_every_is_due_once_per_interval() -> None:
    assert not Every(1000.0).due()
    always = Every(0.0)
    assert always.due()
    assert always.due()


def test_what_is_saved_comes_back_and_nothing_partial_is_left(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    assert restore(path) is None
    save(path, {"step": 3, "weights": {"a": torch.arange(4.0)}})
    save(path, {"step": 4, "weights": {"a": torch.arange(4.0) + 1}})
    state = restore(path)
    assert state is not None
    assert state["step"] == 4
    assert torch.equal(state["weights"]["a"], torch.arange(4.0) + 1)
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.pt"]


def test_a_save_that_fails_leaves_the_last_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    save(path, {"step": 1})
    with pytest.raises((TypeError, AttributeError, RuntimeError, ValueError)):
        save(path, {"step": (number for number in range(3))})  # generators cannot be stored
    assert restore(path) == {"step": 1}


def test_the_rate_warms_up_and_falls_along_a_cosine() -> None:
    def rate(share: float) -> float:
        return rate_at(share, peak=2.0, warm_up=0.1, final=0.05)

    assert rate(0.0) == pytest.approx(0.04)
    assert rate(0.05) == pytest.approx(1.0)
    assert rate(0.1) == pytest.approx(2.0)
    assert rate(0.55) == pytest.approx(2.0 * (0.05 + 0.95 / 2))
    assert rate(1.0) == rate(1.3) == pytest.approx(0.1)
    rates = [rate(0.1 + k / 100) for k in range(90)]
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_to_stop_and_the_handlers_come_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    stop = Stop()
    with stop.listening():
        before_the_signal = stop.asked
        signal.raise_signal(number)
        assert (before_the_signal, stop.asked) == (False, True)
        assert signal.getsignal(number) is signal.SIG_DFL  # the second one ends the process
    assert signal.getsignal(number) is before


def test_metrics_are_appended_line_by_line(tmp_path: Path) -> None:
    record(tmp_path, stage="tower", step=1)
    record(tmp_path, stage="exam", accuracy={"all": {1: 0.5}})
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert [row["stage"] for row in rows] == ["tower", "exam"]
    assert rows[1]["accuracy"] == {"all": {"1": 0.5}}
    assert all(row["time"] > 0 for row in rows)
