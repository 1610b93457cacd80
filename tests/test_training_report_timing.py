"""Time on a 7B model: the paper's estimate, and files of measured times."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.sources import SourceError
from tests.sources import SHARED
from training.report.timing import Times, paper_times, read_times


@dataclass(frozen=True)
class Table:
    """Two questions about one image of two views, at two scales."""

    image_index: Any
    image_views: Any
    visual_tokens: Any
    text_tokens: Any
    answer_tokens: Any


TABLE = Table(
    image_index=np.array([0, 0]),
    image_views=np.array([2]),
    visual_tokens=np.array([[10, 100], [10, 100]]),
    text_tokens=np.array([10, 40]),
    answer_tokens=np.array([[1, 3], [0, 1]]),
)


def rows(*changes: dict[str, Any]) -> list[dict[str, Any]]:
    known = {"encode_ms": 5.0, "decode_tok_per_s": 100.0}
    return [
        {**known, "n_prompt_tokens": n, "prompt_eval_ms": ms, **change}
        for (n, ms), change in zip(((20, 8.0), (120, 28.0)), changes, strict=True)
    ]


def written(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_a_request_is_encoding_prefill_and_a_step_per_further_token(tmp_path: Path) -> None:
    times = read_times(written(tmp_path / "times.json", rows({}, {})))
    assert times.measured
    assert times.encoding_ms(TABLE).tolist() == [[10.0], [10.0]]
    # Prompts of 20, 110, 50 and 140 tokens: 8 ms and 0.2 ms for each above 20, beyond the longest too.
    expected = [[10 + 8.0, 10 + 26.0 + 2 * 10.0], [10 + 14.0, 10 + 32.0]]
    assert times.request_ms(TABLE) == pytest.approx(np.array(expected))


def test_prompts_shorter_than_any_measured_take_as_long_as_the_shortest() -> None:
    times = Times("by hand", True, 0.0, (50.0, 100.0), (5.0, 10.0), (1.0, 1.0))
    assert times.request_ms(TABLE)[0, 0] == 5.0


def test_the_papers_estimate_gives_its_prefill_and_a_floor_for_decoding() -> None:
    times = paper_times()
    assert not times.measured
    assert "2405.17430" in times.source
    assert "roofline" in times.source
    prefill = dict(zip(times.prompt_tokens, times.prefill_ms, strict=True))
    assert prefill == {31: 17.6, 39: 17.7, 66: 18.0, 174: 19.5, 606: 58.1}
    assert set(times.decode_ms) == {17.6}  # all weights are read once: what the shortest prompt takes
    assert 1.0 < times.encode_ms < 5.0


def test_rows_of_one_length_are_averaged(tmp_path: Path) -> None:
    twice = rows({}, {}) + rows({"prompt_eval_ms": 12.0, "encode_ms": 7.0}, {"decode_tok_per_s": 50.0})
    times = read_times(written(tmp_path / "times.json", twice))
    assert times.prefill_ms == (10.0, 28.0)
    assert times.decode_ms == pytest.approx((10.0, 15.0))
    assert times.encode_ms == 5.5


@pytest.mark.parametrize(
    ("content", "platform", "said"),
    [
        ([], "", "has no rows"),
        ({"a": 1}, "", "holds no list"),
        (rows({"platform": "a"}, {"platform": "b"}), "", "has times of a, b: name one, as in a=times.json"),
        (rows({"platform": "a"}, {"platform": "b"}), "c", "has no times of 'c'; it has those of: a, b"),
        (rows({"platform": "a"}, {"platform": "b"}), "a", "prompts of one length only"),
        (rows({}, {"encode_ms": None}), "", "entry 1: encode_ms is None, not a number above 0"),
        (rows({"prompt_eval_ms": float("nan")}, {}), "", "entry 0: prompt_eval_ms is nan"),
        (rows({"decode_tok_per_s": 0}, {}), "", "entry 0: decode_tok_per_s is 0"),
        (rows({"n_prompt_tokens": True}, {}), "", "entry 0: n_prompt_tokens is True"),
    ],
)
def test_what_is_no_file_of_times_is_named(tmp_path: Path, content: Any, platform: str, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        read_times(written(tmp_path / "times.json", content), platform)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real samples")
def test_a_real_sweep_of_three_machines_is_read() -> None:
    path = SHARED / "outcomes" / "cost_sweep.json"
    with pytest.raises(SourceError, match="kaggle_gpu, m4_cpu, x86: name one"):
        read_times(path)
    times = read_times(path, "kaggle_gpu")
    assert times.source == "cost_sweep.json, kaggle_gpu"
    assert (times.prompt_tokens[-1], times.prefill_ms[-1]) == (593, 1137.85)
    assert 139 <= times.encode_ms <= 152
