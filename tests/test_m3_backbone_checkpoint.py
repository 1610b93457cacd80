from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from m3_backbone import CheckpointError, Ladder, load_backbone
from m3_backbone.checkpoint import load_checkpoint
from tests.backbones import (
    CLIP,
    CONFIG,
    GOLDEN,
    PREPROCESSOR,
    TOWER_CONFIG,
    picture,
    random_modules,
    write_checkpoint,
)

TOWER = "model.vision_tower.vision_tower.vision_model."


def weights(folder: Path) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = load_file(folder / "model.safetensors")
    return tensors


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def to_bin(folder: Path, tensors: dict[str, torch.Tensor], shards: int = 2) -> None:
    """Rewrites the weights as sharded ``.bin`` files."""
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    mapping: dict[str, str] = {}
    for number in range(shards):
        file = f"pytorch_model-{number + 1:05d}-of-{shards:05d}.bin"
        part = {name: tensors[name] for name in names[number::shards]}
        torch.save(part, folder / file)
        mapping |= dict.fromkeys(part, file)
    index = {"metadata": {}, "weight_map": mapping}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))


def test_what_is_saved_is_loaded_weight_by_weight(tmp_path: Path) -> None:
    modules = random_modules()
    loaded = load_checkpoint(write_checkpoint(tmp_path / "a")).modules
    expected = modules.state_dict()
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_every_layout_of_the_same_weights_gives_the_same_modules(tmp_path: Path) -> None:
    whole = write_checkpoint(tmp_path / "whole")
    sharded = write_checkpoint(tmp_path / "sharded", shard_bytes=40_000)
    assert len(list(sharded.glob("model-*.safetensors"))) > 2
    binary = Path(shutil.copytree(whole, tmp_path / "binary"))
    to_bin(binary, weights(whole))
    states = [load_checkpoint(folder).modules.state_dict() for folder in (whole, sharded, binary)]
    for other in states[1:]:
        assert all(torch.equal(tensor, other[name]) for name, tensor in states[0].items())


def test_a_frozen_tower_comes_from_the_clip_folder_and_stale_copies_are_ignored(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "frozen")
    edit(folder / "config.json", unfreeze_mm_vision_tower=False)
    tensors = weights(folder)
    tower = {
        name.removeprefix("model.vision_tower.vision_tower."): tensor
        for name, tensor in tensors.items()
        if name.startswith(TOWER)
    }
    rest = {
        "text_model.embeddings.token_embedding.weight": torch.ones(2, 2),
        "visual_projection.weight": torch.ones(2, 2),
        "logit_scale": torch.ones(()),
        "vision_model.embeddings.position_ids": torch.arange(37)[None],
    }
    torch.save(tower | rest, folder / "vision_tower" / "pytorch_model.bin")
    stale = {name: tensor + 1 if name.startswith(TOWER) else tensor for name, tensor in tensors.items()}
    stale["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
    to_bin(folder, stale)
    expected = random_modules().state_dict()
    for name, tensor in load_checkpoint(folder).modules.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_the_tower_in_the_checkpoint_wins_over_the_clip_folders_when_it_was_trained(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "a")
    torch.save({"vision_model.nonsense": torch.ones(1)}, folder / "vision_tower" / "pytorch_model.bin")
    load_checkpoint(folder)


def test_tied_embeddings_need_no_head(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "tied", tie_word_embeddings=True)
    assert "lm_head.weight" not in weights(folder)
    language = load_checkpoint(folder).modules.language_model
    assert language.lm_head.weight is language.model.embed_tokens.weight


def test_a_plain_llava_is_pooled_to_the_scales_asked_for_and_another_grid_needs_them(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "a")
    edit(folder / "config.json", matryoshka_vis_token_scale=None)
    with pytest.raises(CheckpointError, match=r"grid of 6 x 6 patches.*names no scales: name a ladder"):
        load_backbone(folder)
    assert load_backbone(folder, ladder=Ladder((4, 36))).ladder.scales == (4, 36)
    with pytest.raises(CheckpointError, match="grid of 6 x 6 patches"):
        load_backbone(folder, ladder=Ladder((1, 9, 144)))


def test_a_ladder_is_not_asked_of_a_checkpoint_that_has_one(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "a")
    assert load_backbone(folder, ladder=Ladder((1, 9, 36))).ladder.scales == (1, 9, 36)
    with pytest.raises(
        CheckpointError, match=r"\[4, 36\] is asked for, but config\.json names .*\[1, 9, 36\]"
    ):
        load_backbone(folder, ladder=Ladder((4, 36)))


def test_the_fingerprint_follows_contents_and_not_places(tmp_path: Path) -> None:
    first = write_checkpoint(tmp_path / "a")
    second = write_checkpoint(tmp_path / "b")
    same = load_checkpoint(first).fingerprint
    assert load_checkpoint(second).fingerprint == same
    assert len(same) == 64
    edit(second / "config.json", rms_norm_eps=1e-6)
    assert load_checkpoint(second).fingerprint != same


def test_the_tower_folder_can_be_named_outright(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "a")
    elsewhere = shutil.move(folder / "vision_tower", tmp_path / "clip")
    with pytest.raises(CheckpointError, match="vision_tower="):
        load_checkpoint(folder)
    load_checkpoint(folder, vision_tower=elsewhere)


def test_the_official_tower_name_resolves_from_the_working_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN)
    backbone = load_backbone("llava-v1.5-7b-m3")
    assert backbone.name == "llava-v1.5-7b-m3"
    assert backbone.ladder.scales == (1, 9, 36, 144, 576)


def test_a_whole_clip_config_serves_as_well_as_its_vision_part() -> None:
    from m3_backbone.checkpoint import build_modules

    whole = {"model_type": "clip", "vision_config": TOWER_CONFIG, "text_config": {}}
    assert build_modules(CONFIG, whole).layers_run == 2
    with pytest.raises(CheckpointError, match="not a CLIP vision config"):
        build_modules(CONFIG, {"model_type": "vit"} | PREPROCESSOR)


def test_importing_the_package_imports_no_torch() -> None:
    code = (
        "import sys, m3_backbone, m3_backbone.types, m3_backbone.scales, m3_backbone.config\n"
        "m3_backbone.embedded_path()\n"
        "bad = {'torch', 'transformers'} & set(sys.modules)\n"
        "sys.exit(str(bad) if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=GOLDEN.parents[2])


def test_a_plain_llava_of_m3s_grid_is_pooled_to_m3s_scales_and_is_another_backbone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As the reference does it: it asks the checkpoint for no scales."""
    folder = Path(shutil.copytree(GOLDEN / "llava-v1.5-7b-m3", tmp_path / "llava"))
    own = load_backbone(folder, vision_tower=CLIP)
    config = json.loads((folder / "config.json").read_text())
    del config["matryoshka_vis_token_scale"]
    (folder / "config.json").write_text(json.dumps(config))
    plain = load_backbone(folder, vision_tower=CLIP)
    assert "a plain LLaVA, pooled to 1,9,36,144,576 without training" in caplog.text
    assert plain.ladder == own.ladder
    assert plain.fingerprint != own.fingerprint
    asked = load_backbone(folder, vision_tower=CLIP, ladder=own.ladder)
    assert plain.fingerprint == asked.fingerprint
    images = [model.encode_image(picture()) for model in (own, plain)]
    for scale in own.ladder:
        assert torch.equal(images[0].tokens(scale), images[1].tokens(scale))
