from __future__ import annotations

import pytest

from m3_backbone import PromptTooLong
from m3_backbone.limits import Limits
from m3_backbone.types import KvBudgetExceeded


def limits(config: dict[str, object] | None = None, **changes: int | None) -> Limits:
    values: dict[str, int | None] = {"prompt_tokens": None, "kv_budget_bytes": None}
    return Limits.of(config or {}, 100, 10, **(values | changes))


def test_the_prompt_is_limited_by_the_reference_by_what_is_asked_for_and_by_the_positions() -> None:
    assert limits().prompt_tokens == 100
    assert limits({"tokenizer_model_max_length": 60}).prompt_tokens == 60
    assert limits({"tokenizer_model_max_length": 600}).prompt_tokens == 100
    assert limits({"tokenizer_model_max_length": 60}, prompt_tokens=80).prompt_tokens == 80


def test_the_last_request_that_fits_passes_and_the_next_one_is_refused_with_the_numbers() -> None:
    bounds = limits(prompt_tokens=80, kv_budget_bytes=900)
    bounds.check(text=40, visual=40, new=11)
    with pytest.raises(PromptTooLong, match=r"81 tokens \(41 visual, 40 text\).*at most 80"):
        bounds.check(text=40, visual=41, new=1)
    with pytest.raises(PromptTooLong, match=r"80 tokens and 21 new ones.*context holds 100"):
        bounds.check(text=40, visual=40, new=21)
    with pytest.raises(KvBudgetExceeded, match="takes 910 bytes, the budget is 900"):
        bounds.check(text=40, visual=40, new=12)


def test_limits_that_no_request_could_keep_to_are_refused() -> None:
    with pytest.raises(ValueError, match="prompt_limit is 101; it must be 1 to 100"):
        limits(prompt_tokens=101)
    with pytest.raises(ValueError, match="prompt_limit is 0"):
        limits(prompt_tokens=0)
    with pytest.raises(ValueError, match="kv_budget_bytes is 9; one token takes 10"):
        limits(kv_budget_bytes=9)


def test_a_model_on_fewer_positions_takes_no_more_than_they_hold() -> None:
    fewer = limits(prompt_tokens=80).within(60)
    assert (fewer.context_tokens, fewer.prompt_tokens) == (60, 60)
    assert limits(prompt_tokens=80).within(90).prompt_tokens == 80
    assert limits().within(200) == limits()
