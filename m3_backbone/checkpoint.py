"""A checkpoint folder -> modules with every weight accounted for; and back.

Read: the official LLaVA-M3 layout (`m3_backbone.official_layout`) and transformers' own
(`m3_backbone.transformers_layout`), as safetensors or ``.bin``, whole or in shards. Written: the first.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from m3_backbone.config import Conditioning, M3Config, read_json
from m3_backbone.filling import fill
from m3_backbone.hub import local_folder, model_name
from m3_backbone.modules import M3Modules, build_modules, official_names
from m3_backbone.official_layout import official_source
from m3_backbone.prompt import CONVERSATIONS
from m3_backbone.scales import Ladder
from m3_backbone.transformers_layout import is_transformers_config, transformers_source
from m3_backbone.types import CheckpointError
from m3_backbone.weights import fingerprint, write_json, write_weights

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "M3Modules",
    "build_modules",
    "load_checkpoint",
    "official_names",
    "save_checkpoint",
]

_TOWER_FOLDER = "vision_tower"


@dataclass(frozen=True)
class Checkpoint:
    """What `load_checkpoint` made of a folder."""

    name: str
    folder: Path
    config: M3Config
    conditioning: Conditioning
    modules: M3Modules
    fingerprint: str

    @property
    def stop_ids(self) -> frozenset[int]:
        """Ends of sequence that generation_config.json names: one, several or none."""
        path = self.folder / "generation_config.json"
        named = read_json(path).get("eos_token_id") if path.is_file() else None
        listed = named if isinstance(named, list) else [named]
        return frozenset(value for value in listed if isinstance(value, int))


def load_checkpoint(
    path: str | Path,
    *,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    vision_tower: str | Path | None = None,
    ladder: Ladder | None = None,
) -> Checkpoint:
    """Everything in the folder (or hub name) ``path``, checked, in ``dtype`` on ``device``.

    vision_tower: the CLIP folder, instead of the one that ``mm_vision_tower`` resolves to.
    ladder: of a plain LLaVA, which is pooled without training; refused where config.json names other scales.
    Raises `CheckpointError` naming every missing file, or all weights that are missing, surplus,
    misshapen or not finite.
    """
    folder = local_folder(path)
    raw = read_json(folder / "config.json")
    if is_transformers_config(raw):
        source = transformers_source(folder, raw, vision_tower=vision_tower, ladder=ladder)
    else:
        source = official_source(folder, raw, vision_tower=vision_tower, ladder=ladder)
    if (named := source.config.conversation) not in (None, *CONVERSATIONS):
        raise CheckpointError(
            f"config.json: m3_conversation is {named!r}; known are {', '.join(sorted(CONVERSATIONS))}."
        )
    with torch.device("meta"):
        modules = build_modules(source.config, source.tower_config)
    image_size = int(modules.tower.config.image_size)
    if source.conditioning.size != image_size:
        raise CheckpointError(
            f"The preprocessor makes {source.conditioning.size} pixels, the tower wants {image_size}."
        )
    fill(modules, source, dtype=dtype, device=torch.device(device))
    return Checkpoint(
        name=model_name(folder),
        folder=folder,
        config=source.config,
        conditioning=source.conditioning,
        modules=modules.requires_grad_(False).eval(),
        fingerprint=fingerprint(source.roles),
    )


def save_checkpoint(
    folder: str | Path,
    modules: M3Modules,
    config: Mapping[str, Any],
    *,
    tower_config: Mapping[str, Any],
    preprocessor: Mapping[str, Any],
    tokenizer_model: str | Path,
    dtype: torch.dtype = torch.bfloat16,
    max_shard_bytes: int | None = None,
) -> None:
    """Writes the official layout: weights under their official names, the tower among them.

    ``mm_vision_tower`` becomes the folder ``vision_tower`` inside the checkpoint (CLIP's config and
    preprocessor, no weights) and ``unfreeze_mm_vision_tower`` true.
    """
    target = Path(folder)
    (target / _TOWER_FOLDER).mkdir(parents=True, exist_ok=True)
    values = dict(config) | {"mm_vision_tower": _TOWER_FOLDER, "unfreeze_mm_vision_tower": True}
    values["torch_dtype"] = str(dtype).removeprefix("torch.")
    M3Config.parse(values)
    state = modules.state_dict()
    tensors = {name: state[key].to(dtype) for name, key in official_names(modules).items()}
    write_weights(target, tensors, max_shard_bytes=max_shard_bytes)
    write_json(target / "config.json", values)
    write_json(target / _TOWER_FOLDER / "config.json", dict(tower_config))
    write_json(target / _TOWER_FOLDER / "preprocessor_config.json", dict(preprocessor))
    if Path(tokenizer_model).resolve() != (target / "tokenizer.model").resolve():
        shutil.copyfile(tokenizer_model, target / "tokenizer.model")
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<unk>"}
    write_json(target / "special_tokens_map.json", special)
    tokenizer = {"tokenizer_class": "LlamaTokenizer", "legacy": False, "add_bos_token": True}
    write_json(target / "tokenizer_config.json", special | tokenizer | {"add_eos_token": False})
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    write_json(target / "generation_config.json", ids)
