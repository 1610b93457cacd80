"""A checkpoint folder -> modules with every weight accounted for; and back.

Covers the official LLaVA-M3 layout (``model_type`` llava_llama): sharded or single safetensors, sharded
or single ``.bin``; the tower inside the checkpoint (``unfreeze_mm_vision_tower``) or in the CLIP folder.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from m3_backbone.config import Conditioning, M3Config, read_json
from m3_backbone.modules import M3Modules, build_modules, official_names
from m3_backbone.scales import Ladder
from m3_backbone.types import CheckpointError
from m3_backbone.weights import fingerprint, read_weights, weight_files, write_json, write_weights

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "M3Modules",
    "build_modules",
    "load_checkpoint",
    "official_names",
    "save_checkpoint",
]

_STALE = re.compile(r"(rotary_emb\.inv_freq|position_ids)$")  # buffers that old versions saved
_TOWER = "model.vision_tower.vision_tower."
_CLIP_REST = re.compile(r"(text_model\.|text_projection|visual_projection|logit_scale)")
_TOWER_FOLDER = "vision_tower"
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_NAMED = 8  # weights named in an error before it counts the rest


@dataclass(frozen=True)
class Checkpoint:
    """What `load_checkpoint` made of a folder."""

    name: str
    folder: Path
    config: M3Config
    conditioning: Conditioning
    modules: M3Modules
    fingerprint: str


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
    ladder: pools a plain LLaVA without training; ignored where config.json names the scales.
    Raises `CheckpointError` naming every missing file, or all weights that are missing, surplus,
    misshapen or not finite.
    """
    folder = _local(path)
    config = M3Config.parse(read_json(folder / "config.json"), ladder=ladder)
    tower = _tower_folder(config, folder, vision_tower)
    tower_config = read_json(tower / "config.json")
    conditioning = Conditioning.parse(
        read_json(tower / "preprocessor_config.json"), f"{tower.name}/preprocessor_config.json"
    )
    with torch.device("meta"):
        modules = build_modules(config, tower_config)
    image_size = int(modules.tower.config.image_size)
    if conditioning.size != image_size:
        raise CheckpointError(
            f"The preprocessor makes {conditioning.size} pixels, the tower wants {image_size}."
        )
    files = weight_files(folder)
    clip_files = () if config.tower_in_checkpoint else weight_files(tower)
    _fill(modules, config, files, clip_files, dtype=dtype, device=torch.device(device))
    return Checkpoint(
        name=folder.name,
        folder=folder,
        config=config,
        conditioning=conditioning,
        modules=modules.requires_grad_(False).eval(),
        fingerprint=fingerprint(_roles(folder, tower, files, clip_files)),
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


def _local(path: str | Path) -> Path:
    """A folder as it is; else a hub name's snapshot."""
    folder = Path(path)
    if folder.is_dir():
        return folder.resolve()
    if not isinstance(path, str) or _HUB_NAME.fullmatch(path) is None:
        raise CheckpointError(f"{path} is neither a folder nor a hub name such as mucai/llava-v1.5-7b-m3.")
    from huggingface_hub import snapshot_download

    try:
        patterns = ["*.json", "*.safetensors", "*.bin", "*.model"]
        return Path(snapshot_download(path, allow_patterns=patterns))
    except Exception as error:  # many kinds: offline, unknown name, gated, disk full
        reason = type(error).__name__
        raise CheckpointError(
            f"{path} is no folder here and could not be fetched from the hub: {reason}."
        ) from error


def _tower_folder(config: M3Config, folder: Path, explicit: str | Path | None) -> Path:
    """Explicit argument, else inside the checkpoint, else from the working directory, else the hub."""
    if explicit is not None:
        return _local(explicit)
    inside = folder / config.tower
    if not Path(config.tower).is_absolute() and inside.is_dir():
        return inside.resolve()
    try:
        return _local(config.tower)
    except CheckpointError as error:
        raise CheckpointError(f"mm_vision_tower: {error} Name its folder with vision_tower=.") from error


def _roles(
    folder: Path, tower: Path, files: Iterable[Path], clip_files: Iterable[Path]
) -> list[tuple[str, Path]]:
    """(role, file) of all that decides what the model answers."""
    roles = [(f"checkpoint/{path.name}", path) for path in files]
    roles += [(f"tower/{path.name}", path) for path in clip_files]
    for name in ("config.json", "tokenizer.model", "tokenizer_config.json"):
        if (folder / name).is_file():
            roles.append((f"checkpoint/{name}", folder / name))
    return roles + [(f"tower/{name}", tower / name) for name in ("config.json", "preprocessor_config.json")]


def _fill(
    modules: M3Modules,
    config: M3Config,
    files: Iterable[Path],
    clip_files: Iterable[Path],
    *,
    dtype: torch.dtype,
    device: torch.device,
) -> None:
    """Puts every weight in its place; collects all faults before raising."""
    names = official_names(modules)
    shapes = {name: value.shape for name, value in modules.state_dict().items()}
    state: dict[str, Tensor] = {}
    faults: dict[str, list[str]] = {"surplus": [], "misshapen": [], "not finite": []}

    def take(name: str, tensor: Tensor) -> None:
        key = names.get(name)
        if key is None:
            tied = name == "lm_head.weight" and modules.language_model.config.tie_word_embeddings
            if not tied:
                faults["surplus"].append(name)
        elif tensor.shape != shapes[key]:
            faults["misshapen"].append(f"{name} {list(tensor.shape)} instead of {list(shapes[key])}")
        elif not torch.isfinite(tensor).all():
            faults["not finite"].append(name)
        else:
            state[key] = tensor.to(device=device, dtype=dtype)

    for path in files:
        for name, tensor in read_weights(path):
            stale_tower = name.startswith(_TOWER) and not config.tower_in_checkpoint
            if not stale_tower and _STALE.search(name) is None:
                take(name, tensor)
    for path in clip_files:
        for name, tensor in read_weights(path):
            if _CLIP_REST.match(name) is None and _STALE.search(name) is None:
                take(_TOWER + ("" if name.startswith("vision_model.") else "vision_model.") + name, tensor)
    bad = {text.split(" ")[0] for texts in faults.values() for text in texts}
    missing = [name for name, key in names.items() if key not in state and name not in bad]
    problems = [f"{len(texts)} {kind}: {_some(texts)}" for kind, texts in faults.items() if texts]
    if missing:
        problems.insert(0, f"{len(missing)} missing: {_some(missing)}")
    if problems:
        raise CheckpointError("The weights do not fit config.json. " + "; ".join(problems) + ".")
    modules.load_state_dict(state, strict=False, assign=True)
    _rebuild_buffers(modules, device)
    if modules.language_model.config.tie_word_embeddings:
        modules.language_model.lm_head.weight = modules.language_model.model.embed_tokens.weight


def _some(texts: list[str]) -> str:
    rest = len(texts) - _NAMED
    return ", ".join(texts[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _rebuild_buffers(modules: M3Modules, device: torch.device) -> None:
    """Computes the buffers that no checkpoint needs to hold; on the meta device they were empty."""
    llama: Any = modules.language_model.model
    rotary: Any = type(llama.rotary_emb)
    llama.rotary_emb = rotary(modules.language_model.config).to(device)
    embeddings: Any = modules.tower_core
    embeddings = embeddings.embeddings
    embeddings.position_ids = torch.arange(embeddings.num_positions, device=device).expand((1, -1))
    empty = [name for name, value in (*modules.named_parameters(), *modules.named_buffers()) if value.is_meta]
    tied = {"language_model.lm_head.weight"} if modules.language_model.config.tie_word_embeddings else set()
    assert not set(empty) - tied, empty
