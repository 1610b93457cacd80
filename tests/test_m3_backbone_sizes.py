"""Damaged config files: every value of a wrong kind is a `CheckpointError`, or is as good as its default."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from m3_backbone import CheckpointError, load_backbone
from m3_backbone.sizes import check_sizes
from tests.backbones import write_checkpoint

VALUES: tuple[Any, ...] = (..., None, "x", "", -1, 0, 3, 1.5, [], ["a"], {}, {"a": 1}, True, float("inf"))
FILES = (
    "config.json",
    "vision_tower/config.json",
    "vision_tower/preprocessor_config.json",
    "tokenizer_config.json",
    "generation_config.json",
    "model.safetensors.index.json",
)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hidden_size": "64"}, "config.json: hidden_size is '64', not a positive integer"),
        ({"num_hidden_layers": True}, "num_hidden_layers is True"),
        ({"patch_size": 0}, "patch_size is 0"),
        ({"vocab_size": -1}, "vocab_size is -1"),
        ({"rope_theta": []}, r"rope_theta is \[\], not a positive number"),
        ({"rms_norm_eps": float("inf")}, "rms_norm_eps is inf"),
        ({"hidden_size": 64, "num_attention_heads": 5}, "hidden_size is 64, which num_attention_heads, 5"),
        ({"num_attention_heads": 4, "num_key_value_heads": 3}, "which num_key_value_heads, 3, does not"),
    ],
)
def test_what_cannot_be_a_size_is_named_with_its_key(values: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        check_sizes(values, "config.json")


def test_what_is_absent_or_null_is_the_default_and_a_head_may_have_a_size_of_its_own() -> None:
    check_sizes({}, "config.json")
    check_sizes({"hidden_size": None, "num_attention_heads": 7}, "config.json")
    check_sizes({"hidden_size": 64, "num_attention_heads": 5, "head_dim": 16}, "config.json")


@pytest.mark.parametrize("name", FILES)
def test_no_key_of_a_wrong_kind_raises_anything_but_a_checkpoint_error(tmp_path: Path, name: str) -> None:
    whole = write_checkpoint(tmp_path / "whole", shard_bytes=40_000)
    folder = Path(shutil.copytree(whole, tmp_path / "m3"))
    sound = json.loads((whole / name).read_text())
    refused = 0
    for key in sound:
        for value in VALUES:
            changed = {other: kept for other, kept in sound.items() if other != key or value is not ...}
            if value is not ...:
                changed[key] = value
            (folder / name).write_text(json.dumps(changed))
            try:
                load_backbone(folder)
            except CheckpointError:
                refused += 1
    for damaged in (b"", b"{", b"[]", b"null", b"\xff\xfe\x00"):
        (folder / name).write_bytes(damaged)
        with pytest.raises(CheckpointError):
            load_backbone(folder)
    assert refused or name == "generation_config.json"


@pytest.mark.parametrize("value", ["chatml", 3, ["vicuna_v1"]])
def test_a_conversation_that_is_none_is_a_fault_of_the_checkpoint(tmp_path: Path, value: object) -> None:
    folder = write_checkpoint(tmp_path / "m3")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"m3_conversation": value}))
    with pytest.raises(CheckpointError, match=r"m3_conversation is .*; known are m3_tiny, vicuna_v1"):
        load_backbone(folder)
