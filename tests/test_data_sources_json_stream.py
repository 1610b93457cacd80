"""JSON files a value at a time: the same as json.loads, wherever the pieces are cut, and flat in memory."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.sources import SourceError, json_stream, load
from data.sources.json_stream import entries, member, named

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def written(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(JSON, max_size=6),
    others=st.dictionaries(st.text().filter(lambda k: k != "data"), JSON, max_size=3),
    piece=st.integers(1, 100),
    indent=st.sampled_from([None, 0, 3]),
    ascii_only=st.booleans(),
)
def test_values_are_those_of_the_whole_file_wherever_it_is_cut(
    tmp_path_factory: pytest.TempPathFactory,
    values: list[Any],
    others: dict[str, Any],
    piece: int,
    indent: int | None,
    ascii_only: bool,
) -> None:
    path = tmp_path_factory.mktemp("json") / "x.json"

    def dumped(content: Any) -> None:
        text = json.dumps(content, indent=indent, ensure_ascii=ascii_only)
        path.write_bytes(text.encode("utf-8", "surrogatepass") if ascii_only else _encoded(text))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(json_stream, "PIECE", piece)
        dumped(values)
        assert [value for _, value in entries(path)] == values
        dumped({**others, "data": values, "z": [values]})
        assert list(entries(path, "data")) == list(enumerate(values))
        assert member(path, "z") == [values]
        assert member(path, "nothing") is None
        assert dict(named(path)) == {**others, "data": values, "z": [values]}


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace" if any("\ud800" <= c <= "\udfff" for c in text) else "strict")


def test_a_number_is_not_taken_before_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "x.json", "[12.5e-3, 7]")
    for piece in range(1, 12):
        monkeypatch.setattr(json_stream, "PIECE", piece)
        assert [value for _, value in entries(path)] == [0.0125, 7]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not JSON: Expecting value, at character 0"),
        ("[1, 2", "is not JSON: Expecting ',', at character 5"),
        ("[1, ]", "is not JSON: Expecting value, at character 4"),
        ("[1] 2", "is not JSON: Extra data, at character 4"),
        ('[1, "two', "is not JSON: Unterminated string starting at, at character 4"),
        ('{"data": [1], 7: 2}', "is not JSON: Expecting property name"),
        ('{"data": [1]', "is not JSON: Expecting ','"),
        ('{"data": [1], "data": [2]}', "has 'data' twice in one object"),
        ('{"data": 1}', "holds no list under 'data'"),
        ('{"a": [1]}', "holds no list under 'data'"),
        ("3", "holds no list under 'data'"),
        ("\ufeff[1, oops]", "is not JSON: Expecting value, at character 4"),
    ],
)
@pytest.mark.parametrize("piece", [1, 5, 2**20])
def test_what_is_wrong_is_told_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str, piece: int
) -> None:
    monkeypatch.setattr(json_stream, "PIECE", piece)
    with pytest.raises(SourceError, match=said):
        list(entries(written(tmp_path / "x.json", text), "data"))


def test_a_mistake_early_in_a_large_file_is_found_without_reading_it_all(tmp_path: Path) -> None:
    path = written(tmp_path / "x.json", '[{"a": oops}' + ', {"a": 1}' * 500_000 + "]")
    with pytest.raises(SourceError, match="is not JSON: Expecting value, at character 7"):
        list(entries(path))


def test_text_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(b'["\xff"]')
    with pytest.raises(SourceError, match="is not UTF-8 text"):
        list(entries(tmp_path / "x.json"))


def test_names_that_come_twice_are_found_at_any_depth(tmp_path: Path) -> None:
    for text in ('{"a": 1, "a": 2}', '{"b": {"a": 1, "a": 2}}'):
        with pytest.raises(SourceError, match="has 'a' twice in one object"):
            list(named(written(tmp_path / "x.json", text)))
    with pytest.raises(SourceError, match="is a list, not an object"):
        list(named(written(tmp_path / "x.json", "[1]")))


def test_an_official_file_is_streamed_though_it_is_one_line(tmp_path: Path) -> None:
    row = {"image": "documents/p.png", "question": "q" * 400, "answers": ["a", "b"]}
    path = tmp_path / "val_v1.0.json"
    path.write_text(json.dumps({"dataset": "x", "data": [{**row, "questionId": i} for i in range(60_000)]}))
    size = path.stat().st_size
    tracemalloc.start()
    count = sum(1 for _ in load(f"docvqa:{path}"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 60_000
    assert size > 29_000_000
    assert peak < size / 2  # all rows at once are several times the file; what stays are the ids
