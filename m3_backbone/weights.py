"""Weight files: safetensors or ``.bin``, whole or in shards with an index; reading, hashing, writing.

Nothing is unpickled but tensors (``weights_only=True``).
"""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from m3_backbone.config import read_json
from m3_backbone.types import CheckpointError

_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_WHOLE = ("model.safetensors", "pytorch_model.bin")
_BLOCK = 1 << 22
_UNREADABLE = (SafetensorError, OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError)


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The files that hold a folder's weights, safetensors before ``.bin``, in a fixed order.

    Raises `CheckpointError` naming every missing shard, or the files looked for when there is none.
    """
    for index, whole in zip(_INDEXES, _WHOLE, strict=True):
        if (folder / index).is_file():
            return _shards(folder, index)
        if (folder / whole).is_file():
            return (folder / whole,)
    raise CheckpointError(f"{folder} holds no weights: looked for {', '.join(_INDEXES + _WHOLE)}.")


def _shards(folder: Path, index: str) -> tuple[Path, ...]:
    mapping = read_json(folder / index).get("weight_map")
    if not isinstance(mapping, dict) or not mapping:
        raise CheckpointError(f"{folder / index} has no weight_map.")
    names = sorted({str(name) for name in mapping.values()})
    outside = [name for name in names if Path(name).name != name]
    if outside:
        raise CheckpointError(f"{folder / index} names files outside its folder: {', '.join(outside)}.")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise CheckpointError(f"{folder}: {', '.join(missing)} missing, but {index} names it.")
    return tuple(folder / name for name in names)


def read_weights(path: Path) -> Iterator[tuple[str, Tensor]]:
    """(name, tensor) for every tensor of one file, in the file's dtype, on the CPU.

    Raises `CheckpointError` naming the file when it is cut short or not a weights file.
    """
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt", device="cpu") as file:
                for name in file.keys():  # noqa: SIM118 - not a mapping
                    yield name, file.get_tensor(name)
            return
        tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except _UNREADABLE as error:
        raise CheckpointError(_unreadable(path, error)) from error
    if not isinstance(tensors, Mapping) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise CheckpointError(f"{path} holds something other than named tensors.")
    yield from tensors.items()


def check_files(paths: Iterable[Path]) -> None:
    """Looks at every file's own table of contents, before any of gigabytes is read.

    Raises `CheckpointError` naming all files that are cut short or no weights files.
    """
    faults = []
    for path in paths:
        try:
            if path.suffix == ".safetensors":
                with safe_open(path, framework="pt", device="cpu"):
                    pass
            elif _is_zip(path):
                torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except _UNREADABLE as error:
            faults.append(_unreadable(path, error))
    if faults:
        raise CheckpointError(" ".join(faults))


def _unreadable(path: Path, error: Exception) -> str:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"{path} cannot be read (cut short, or no weights file): {reason}"


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def fingerprint(files: Iterable[tuple[str, Path]]) -> str:
    """SHA-256 (hex) over (role, content) of every file; paths and times play no part."""
    total = hashlib.sha256()
    for role, path in sorted(files):
        content = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                content.update(block)
        total.update(f"{role}\0{content.hexdigest()}\n".encode())
    return total.hexdigest()


def write_weights(folder: Path, tensors: Mapping[str, Tensor], *, max_shard_bytes: int | None = None) -> None:
    """``model.safetensors``, or shards of at most ``max_shard_bytes`` with their index."""
    shards: list[dict[str, Tensor]] = [{}]
    room = max_shard_bytes
    for name, tensor in sorted(tensors.items()):
        if max_shard_bytes is not None and room is not None:
            if tensor.nbytes > room and shards[-1]:
                shards.append({})
                room = max_shard_bytes
            room -= tensor.nbytes
        shards[-1][name] = tensor.detach().cpu().contiguous().clone()
    metadata = {"format": "pt"}
    if len(shards) == 1:
        save_file(shards[0], folder / "model.safetensors", metadata=metadata)
        return
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        save_file(shard, folder / name, metadata=metadata)
        weight_map |= dict.fromkeys(shard, name)
    total = sum(tensor.nbytes for tensor in tensors.values())
    write_json(folder / _INDEXES[0], {"metadata": {"total_size": total}, "weight_map": weight_map})


def write_json(path: Path, value: object) -> None:
    """Indented, with a final newline and sorted keys, so that equal content makes equal bytes."""
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")
