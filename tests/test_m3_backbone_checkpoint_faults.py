"""Checkpoints that are damaged, incomplete or not M3's: what is refused, and what is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from m3_backbone import CheckpointError, load_backbone
from m3_backbone.checkpoint import load_checkpoint
from tests.backbones import write_checkpoint
from tests.test_m3_backbone_checkpoint import edit, to_bin, weights


def test_all_faults_of_the_weights_are_named_in_one_error(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "a")
    tensors = weights(folder)
    del tensors["model.mm_projector.0.bias"]
    tensors["model.extra.weight"] = torch.ones(2)
    tensors["model.norm.weight"] = torch.ones(5)
    tensors["lm_head.weight"][3, 3] = float("nan")
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(folder)
    message = str(caught.value)
    assert "1 missing: model.mm_projector.0.bias" in message
    assert "1 surplus: model.extra.weight" in message
    assert "1 misshapen: model.norm.weight [5] instead of [64]" in message
    assert "1 not finite: lm_head.weight" in message


def test_missing_shards_are_all_named(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "a", shard_bytes=40_000)
    shards = sorted(folder.glob("model-*.safetensors"))
    for shard in shards[:2]:
        shard.unlink()
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(folder)
    assert all(shard.name in str(caught.value) for shard in shards[:2])
    assert shards[2].name not in str(caught.value)


def test_a_shard_cut_short_is_named(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "a")
    whole = weights(folder)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be read"):
        load_checkpoint(folder)
    to_bin(folder, whole)
    shard = folder / "pytorch_model-00002-of-00002.bin"
    shard.write_bytes(shard.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match=r"pytorch_model-00002-of-00002\.bin cannot be read"):
        load_checkpoint(folder)


def test_a_bin_file_with_code_in_it_is_refused_and_not_run(tmp_path: Path) -> None:
    import pickle

    folder = write_checkpoint(tmp_path / "a")
    (folder / "model.safetensors").unlink()
    target = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (target,)

    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"a": Evil()}, protocol=2))
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin cannot be read"):
        load_checkpoint(folder)
    assert not target.exists()


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "tokenizer.model",
        "model.safetensors",
        "vision_tower/config.json",
        "vision_tower/preprocessor_config.json",
    ],
)
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    folder = write_checkpoint(tmp_path / "a")
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=Path(name).name):
        load_backbone(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "gpt2"}, "model_type is 'gpt2'"),
        ({"mm_projector_type": "qformer"}, "mm_projector_type is 'qformer'"),
        ({"mm_vision_select_feature": "cls_patch"}, "mm_vision_select_feature is 'cls_patch'"),
        ({"mm_vision_select_layer": -9}, "mm_vision_select_layer is -9"),
        ({"mm_vision_select_layer": "last"}, "mm_vision_select_layer is 'last'"),
        ({"mm_patch_merge_type": "spiral"}, "mm_patch_merge_type is 'spiral'"),
        ({"mm_use_im_start_end": True}, "mm_use_im_start_end"),
        ({"mm_hidden_size": 48}, "mm_hidden_size is 48"),
        ({"image_aspect_ratio": "anyres"}, "image_grid_pinpoints is None"),
        ({"image_aspect_ratio": "stretch"}, "image_aspect_ratio is 'stretch'"),
        ({"matryoshka_vis_token_scale": [1, 9, 16]}, "Scale 9 does not divide"),
        ({"matryoshka_vis_token_scale": [1, 4, 16]}, "grid of 6 x 6"),
        ({"matryoshka_vis_token_scale": None}, "name a ladder for this grid"),
        ({"matryoshka_vis_token_scale": "one"}, "'one'"),
        ({"mm_vision_tower": None}, "mm_vision_tower is None"),
        ({"mm_vision_tower": "no-such-folder"}, "vision_tower="),
    ],
)
def test_a_config_that_is_not_m3s_is_refused_with_key_and_value(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    folder = write_checkpoint(tmp_path / "a")
    edit(folder / "config.json", **change)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(folder)


def test_a_config_that_is_no_json_or_no_folder_at_all_is_named(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "a")
    (folder / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json cannot be read as JSON"):
        load_checkpoint(folder)
    with pytest.raises(CheckpointError, match="There is no folder"):
        load_checkpoint(tmp_path / "nowhere")


def test_another_patch_grid_is_refused(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "a")
    edit(folder / "vision_tower" / "config.json", patch_size=12)
    with pytest.raises(CheckpointError, match="grid of 4 x 4 patches"):
        load_checkpoint(folder)
    edit(folder / "vision_tower" / "config.json", patch_size=8)
    edit(folder / "vision_tower" / "preprocessor_config.json", size=40, crop_size=40)
    with pytest.raises(CheckpointError, match="makes 40 pixels, the tower wants 48"):
        load_checkpoint(folder)
