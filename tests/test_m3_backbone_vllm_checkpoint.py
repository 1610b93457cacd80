"""The language model split off: whole or not at all, once, and the same one."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM

from m3_backbone import load_backbone, vllm_checkpoint
from m3_backbone.model import M3Model
from m3_backbone.vllm_checkpoint import folder_name, main, split_language_model
from tests.backbones import write_checkpoint


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> M3Model:
    return load_backbone(write_checkpoint(tmp_path_factory.mktemp("split") / "m3"))


def test_the_folder_holds_the_same_language_model_and_the_tokenizer(
    backbone: M3Model, tmp_path: Path
) -> None:
    folder = split_language_model(backbone, tmp_path / "new" / "cache")
    loaded = LlamaForCausalLM.from_pretrained(folder).state_dict()
    own = backbone.model.language_model.state_dict()
    assert loaded.keys() == own.keys()
    assert all(torch.equal(loaded[name], own[name]) for name in own)
    assert (folder / "tokenizer.model").is_file()
    assert not (folder / "generation_config.json").exists()
    assert [path.name for path in folder.parent.iterdir()] == [folder_name(backbone)]


def test_it_is_written_once(backbone: M3Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = split_language_model(backbone, tmp_path)
    monkeypatch.setattr(vllm_checkpoint, "write_language_model", None)
    assert split_language_model(backbone, tmp_path) == folder


def test_a_write_that_fails_leaves_nothing(
    backbone: M3Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(backbone: M3Model, folder: Path) -> None:
        (folder / "config.json").write_text("{}")
        raise OSError("No space left on device")

    monkeypatch.setattr(vllm_checkpoint, "write_language_model", fail)
    with pytest.raises(OSError, match="No space"):
        split_language_model(backbone, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_of_two_writers_at_once_one_is_kept(
    backbone: M3Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = split_language_model(backbone, tmp_path / "other")
    write = vllm_checkpoint.write_language_model

    def late(backbone: M3Model, folder: Path) -> None:
        write(backbone, folder)
        shutil.copytree(other, tmp_path / "cache" / other.name)

    monkeypatch.setattr(vllm_checkpoint, "write_language_model", late)
    folder = split_language_model(backbone, tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [folder.name]


def test_what_a_killed_writer_left_is_removed_after_a_day(backbone: M3Model, tmp_path: Path) -> None:
    for name, age_s in (("old", 2 * 86_400), ("new", 60)):
        (tmp_path / f".half-done-{name}").mkdir()
        (tmp_path / f".half-done-{name}" / "config.json").write_text("{}")
        os.utime(tmp_path / f".half-done-{name}", (time.time() - age_s,) * 2)
    split_language_model(backbone, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".half-done-new", folder_name(backbone)}


def test_another_type_of_weights_is_another_folder(backbone: M3Model) -> None:
    half = load_backbone(backbone.checkpoint.folder, dtype="bfloat16")
    assert folder_name(half) != folder_name(backbone)
    assert folder_name(half).endswith("-bfloat16")


def test_the_command_writes_the_folder_and_says_how_vllm_serves_it(
    backbone: M3Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(backbone.checkpoint.folder), "--out", str(tmp_path)]) == 0
    folder = tmp_path / folder_name(backbone)
    assert (folder / "config.json").is_file()
    assert capsys.readouterr().out == (
        f"vllm serve {folder} --served-model-name {folder.name} --dtype float32 --max-model-len "
        f"{backbone.context_tokens} --enable-prompt-embeds --no-enable-prefix-caching\n"
    )


def test_a_checkpoint_that_is_not_there_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "nowhere")]) == 2
    said = capsys.readouterr().err
    assert f"There is no folder {tmp_path}/nowhere." in said
    assert said.count("\n") == 1
