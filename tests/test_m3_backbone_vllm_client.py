"""vLLM's options as an operator writes them."""

from __future__ import annotations

import pytest

from m3_backbone.vllm_client import VllmOptionError, address_of, computed_in, parse_options


def test_values_are_json_where_they_can_be_and_text_otherwise() -> None:
    words = ["tensor_parallel_size=2", "enforce-eager=true", "--kv_cache_dtype=fp8", 'a={"b": [1]}', "c=x=y"]
    assert parse_options(words) == {
        "tensor_parallel_size": 2,
        "enforce_eager": True,
        "kv_cache_dtype": "fp8",
        "a": {"b": [1]},
        "c": "x=y",
    }


@pytest.mark.parametrize("word", ["enforce_eager", "=2", ""])
def test_a_word_without_a_name_or_a_value_is_refused(word: str) -> None:
    with pytest.raises(VllmOptionError, match=r"Write NAME=VALUE, as in enforce_eager=true\."):
        parse_options([word])


@pytest.mark.parametrize(
    "name", ["model", "dtype", "logprobs-mode", "enable_prompt_embeds", "enable-prefix-caching"]
)
def test_what_is_not_the_operators_is_refused(name: str) -> None:
    with pytest.raises(VllmOptionError, match=r"is not to be chosen"):
        parse_options([f"{name}=1"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "bfloat16"),
        (["seed=1", "tensor_parallel_size=2", "kv-cache-dtype=auto", "quantization=null"], "bfloat16"),
        (["quantization=fp8"], "bfloat16 with quantization=fp8"),
        (["quantization=fp8", "kv_cache_dtype=fp8"], "bfloat16 with kv_cache_dtype=fp8, quantization=fp8"),
    ],
)
def test_what_changes_the_numbers_of_answers_is_said_beside_their_dtype(words: list[str], said: str) -> None:
    assert computed_in("bfloat16", parse_options(words)) == said


@pytest.mark.parametrize("place", ["127.0.0.1:8000", "a.example:65535", "[::1]:8000", "a.example"])
def test_an_address_is_a_host_and_perhaps_a_port(place: str) -> None:
    assert address_of(f"vllm+http://{place}/") == f"http://{place}"


@pytest.mark.parametrize(
    "place", ["", ":8000", "a:b", "a:0", "a:-1", "a:65536", "a:1:2", "[::1", "[a]:1", "a:1/v1", "me:key@a:1"]
)
def test_what_is_no_address_is_none(place: str) -> None:
    assert address_of(f"vllm+http://{place}") is None
