"""A checkpoint's name -> a folder on this machine: a folder as it is, else a hub name's snapshot."""

from __future__ import annotations

import re
from pathlib import Path

from m3_backbone.types import CheckpointError

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_PATHS = ("./", "../", "/", "~")
"""How a path begins that is never a hub name."""

_PATTERNS = ["*.json", "*.safetensors", "*.bin", "*.model"]


def local_folder(path: str | Path) -> Path:
    """``path`` resolved, or the hub's snapshot of that name, from its cache where the hub cannot be reached.

    Raises `CheckpointError` with the remedy when there is neither.
    """
    folder = Path(path)
    if folder.is_dir():
        return folder.resolve()
    if str(path).startswith(_PATHS):
        written_out = " Write it out: ~ is what a shell replaces." if str(path).startswith("~") else ""
        raise CheckpointError(f"There is no folder {path}.{written_out}")
    if not isinstance(path, str) or _HUB_NAME.fullmatch(path) is None:
        raise CheckpointError(f"{path} is neither a folder nor a hub name such as mucai/llava-v1.5-7b-m3.")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(path, allow_patterns=_PATTERNS))
    except Exception as error:  # many kinds: offline, unknown name, gated, disk full
        raise CheckpointError(
            f"{path} is no folder here and could not be fetched from the hub: {_reason(error)}"
        ) from error


def _reason(error: Exception) -> str:
    """What stands between us and the checkpoint, and what to do about it."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return "it is gated. Ask for access on its page, then log in with `hf auth login`."
    if isinstance(error, errors.RepositoryNotFoundError):
        return "the hub knows no such checkpoint, or it is private. Check the name, or `hf auth login`."
    if isinstance(error, errors.LocalEntryNotFoundError | ConnectionError):
        return (
            "it cannot be reached, and the cache does not have it. Where there is a network, run "
            "`hf download NAME --local-dir FOLDER`, bring FOLDER here and name it instead; or set HF_HOME to "
            "a cache that has it."
        )
    return f"{type(error).__name__}. Fetch it by hand with `hf download`, and name the folder instead."


def model_name(folder: Path) -> str:
    """The folder's name; for a snapshot in the hub's cache, whose folder is a hash, the repository's."""
    if folder.parent.name == "snapshots":
        return folder.parent.parent.name.rsplit("--", 1)[-1]
    return folder.name
