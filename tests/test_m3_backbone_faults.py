"""Checkpoints broken in one way: one clear error, nothing half-loaded, and the repaired one loads."""

from __future__ import annotations

import gc
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from m3_backbone import CheckpointError, load_backbone
from m3_backbone.modules import M3Modules
from tests.backbones import write_checkpoint


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("model-*.safetensors"))


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_weight(folder: Path, name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    for path in shards(folder):
        tensors = load_file(path)
        if name in tensors:
            tensors[name] = change(tensors[name]).contiguous()
            save_file(tensors, path, metadata={"format": "pt"})


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def cut_short(folder: Path) -> None:
    for path in shards(folder)[1:3]:
        cut(path, path.stat().st_size - 7)


def cut_within_the_header(folder: Path) -> None:
    cut(shards(folder)[0], 30)


def emptied(folder: Path) -> None:
    cut(shards(folder)[0], 0)


def shard_missing(folder: Path) -> None:
    shards(folder)[0].unlink()


def shard_of_another_file(folder: Path) -> None:
    """As after a mixed-up download: all files are there and whole, and weights are missing all the same."""
    first, second = shards(folder)[:2]
    shutil.copyfile(first, second)


def other_projector(folder: Path) -> None:
    edit(folder / "config.json", mm_projector_type="linear")


def deeper_projector(folder: Path) -> None:
    edit(folder / "config.json", mm_projector_type="mlp3x_gelu")


def no_tokenizer_model(folder: Path) -> None:
    (folder / "tokenizer.model").unlink()
    (folder / "tokenizer.json").write_text("{}")


def foreign_tokenizer_model(folder: Path) -> None:
    (folder / "tokenizer.model").write_bytes(b"not a model")


def nan_in_a_weight(folder: Path) -> None:
    def spoil(tensor: torch.Tensor) -> torch.Tensor:
        tensor.view(-1)[5] = float("nan")
        return tensor

    edit_weight(folder, "model.layers.1.mlp.up_proj.weight", spoil)


def infinite_weight(folder: Path) -> None:
    edit_weight(folder, "lm_head.weight", lambda tensor: tensor * float("inf"))


def other_patch_grid(folder: Path) -> None:
    edit(folder / "vision_tower" / "config.json", patch_size=12)


def other_positions(folder: Path) -> None:
    """The tower was trained on another grid than its config says."""
    name = "model.vision_tower.vision_tower.vision_model.embeddings.position_embedding.weight"
    edit_weight(folder, name, lambda tensor: tensor[:-9])


FAULTS: list[tuple[Callable[[Path], None], str]] = [
    (cut_short, r"model-00002\S+ cannot be read.*model-00003\S+ cannot be read"),
    (cut_within_the_header, r"model-00001\S+ cannot be read"),
    (emptied, r"model-00001\S+ cannot be read"),
    (shard_missing, r"model-00001-of-\d+\.safetensors missing"),
    (shard_of_another_file, r"missing: .*stored twice: "),
    (other_projector, r"mm_projector_type is 'linear'; M3's is 'mlp2x_gelu'"),
    (deeper_projector, r"2 missing: model\.mm_projector\.4\.weight, model\.mm_projector\.4\.bias"),
    (no_tokenizer_model, r"tokenizer\.model is missing.*tokenizer\.json.*is not read"),
    (foreign_tokenizer_model, r"tokenizer\.model is no SentencePiece model"),
    (nan_in_a_weight, r"1 not finite: model\.layers\.1\.mlp\.up_proj\.weight"),
    (infinite_weight, r"1 not finite: lm_head\.weight"),
    (other_patch_grid, "grid of 4 x 4 patches"),
    (other_positions, r"1 misshapen: \S+position_embedding\.weight \[28, 32\] instead of \[37, 32\]"),
]


@pytest.mark.parametrize(("spoil", "message"), FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
def test_a_broken_checkpoint_is_one_clear_error_and_the_repaired_one_loads(
    tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    whole = write_checkpoint(tmp_path / "whole", shard_bytes=40_000)
    broken = Path(shutil.copytree(whole, tmp_path / "m3"))
    spoil(broken)
    with pytest.raises(CheckpointError, match=f"(?s){message}"):
        load_backbone(broken)
    shutil.rmtree(broken)
    shutil.copytree(whole, broken)
    load_backbone(broken)


def test_nothing_of_a_refused_checkpoint_is_kept(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m3", shard_bytes=40_000)
    nan_in_a_weight(folder)
    gc.collect()
    before = sum(type(thing) is M3Modules for thing in gc.get_objects())
    with pytest.raises(CheckpointError):
        load_backbone(folder)
    gc.collect()
    assert sum(type(thing) is M3Modules for thing in gc.get_objects()) == before


def test_a_weight_that_is_too_large_for_float16_is_named(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m3", shard_bytes=40_000)
    edit_weight(folder, "model.norm.weight", lambda tensor: tensor + 1e5)
    load_backbone(folder, dtype="bfloat16")
    with pytest.raises(CheckpointError, match=r"1 too large for torch\.float16: model\.norm\.weight"):
        load_backbone(folder, dtype="float16")


def test_bin_shards_that_are_cut_short_are_all_named(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m3")
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = [f"pytorch_model-{n}-of-3.bin" for n in range(3)]
    parts = {file: dict(list(tensors.items())[n::3]) for n, file in enumerate(names)}
    for file, part in parts.items():
        torch.save(part, folder / file)
    mapping = {name: file for file, part in parts.items() for name in part}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": mapping}))
    load_backbone(folder)
    for file in names[1:]:
        cut(folder / file, (folder / file).stat().st_size // 2)
    with pytest.raises(CheckpointError) as caught:
        load_backbone(folder)
    assert [file in str(caught.value) for file in names] == [False, True, True]
