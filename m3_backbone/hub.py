"""A checkpoint's name -> a folder on this machine: a folder as it is, else a hub name's snapshot."""

from __future__ import annotations

import re
from pathlib import Path

from m3_backbone.types import CheckpointError

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_PATTERNS = ["*.json", "*.safetensors", "*.bin", "*.model"]


def local_folder(path: str | Path) -> Path:
    """``path`` resolved; raises `CheckpointError` when it is no folder and cannot be fetched from the hub."""
    folder = Path(path)
    if folder.is_dir():
        return folder.resolve()
    if not isinstance(path, str) or _HUB_NAME.fullmatch(path) is None:
        raise CheckpointError(f"{path} is neither a folder nor a hub name such as mucai/llava-v1.5-7b-m3.")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(path, allow_patterns=_PATTERNS))
    except Exception as error:  # many kinds: offline, unknown name, gated, disk full
        reason = type(error).__name__
        raise CheckpointError(
            f"{path} is no folder here and could not be fetched from the hub: {reason}."
        ) from error


def model_name(folder: Path) -> str:
    """The folder's name; for a snapshot in the hub's cache, whose folder is a hash, the repository's."""
    if folder.parent.name == "snapshots":
        return folder.parent.parent.name.rsplit("--", 1)[-1]
    return folder.name
