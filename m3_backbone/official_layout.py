"""The official LLaVA-M3 layout (``model_type`` llava_llama) -> `Source`.

The tower's weights are inside the checkpoint (``unfreeze_mm_vision_tower``) or in the CLIP folder, whose
config and preprocessor are read either way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from m3_backbone.config import Conditioning, M3Config, read_json
from m3_backbone.hub import local_folder
from m3_backbone.scales import Ladder
from m3_backbone.source import TOWER, Source, is_stale
from m3_backbone.types import CheckpointError
from m3_backbone.weights import weight_files

_CLIP_REST = re.compile(r"(text_model\.|text_projection|visual_projection|logit_scale)")


def official_source(
    folder: Path, raw: Mapping[str, Any], *, vision_tower: str | Path | None, ladder: Ladder | None
) -> Source:
    """``raw``: the folder's config.json. Raises `CheckpointError` for keys or files that do not fit."""
    config = M3Config.parse(raw, ladder=ladder)
    tower = _tower_folder(config, folder, vision_tower)
    tower_config = read_json(tower / "config.json")
    conditioning = Conditioning.parse(
        read_json(tower / "preprocessor_config.json"), f"{tower.name}/preprocessor_config.json"
    )
    files = weight_files(folder)
    clip_files = () if config.tower_in_checkpoint else weight_files(tower)

    def own(name: str) -> str | None:
        stale_tower = name.startswith(TOWER) and not config.tower_in_checkpoint
        return None if stale_tower or is_stale(name) else name

    roles = [(f"checkpoint/{path.name}", path) for path in files]
    roles += [(f"tower/{path.name}", path) for path in clip_files]
    for name in ("config.json", "tokenizer.model", "tokenizer_config.json"):
        if (folder / name).is_file():
            roles.append((f"checkpoint/{name}", folder / name))
    roles += [(f"tower/{name}", tower / name) for name in ("config.json", "preprocessor_config.json")]
    return Source(
        config=config,
        tower_config=tower_config,
        conditioning=conditioning,
        weights=(*((path, own) for path in files), *((path, _clip_name) for path in clip_files)),
        roles=tuple(roles),
    )


def _clip_name(name: str) -> str | None:
    """A CLIP folder's name: with the text tower beside it, or the vision tower alone."""
    if _CLIP_REST.match(name) is not None or is_stale(name):
        return None
    return TOWER + ("" if name.startswith("vision_model.") else "vision_model.") + name


def _tower_folder(config: M3Config, folder: Path, explicit: str | Path | None) -> Path:
    """Explicit argument, else inside the checkpoint, else from the working directory, else the hub."""
    if explicit is not None:
        return local_folder(explicit)
    inside = folder / config.tower
    if not Path(config.tower).is_absolute() and inside.is_dir():
        return inside.resolve()
    try:
        return local_folder(config.tower)
    except CheckpointError as error:
        raise CheckpointError(f"mm_vision_tower: {error} Name its folder with vision_tower=.") from error
