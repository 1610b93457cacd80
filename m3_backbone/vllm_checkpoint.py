"""The Llama part of a checkpoint as a folder of its own, which vLLM can load: split off once, then kept.

``python -m m3_backbone.vllm_checkpoint CHECKPOINT --out FOLDER`` writes it for a vLLM on another machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from safetensors import SafetensorError

from m3_backbone.loading import load_backbone
from m3_backbone.model import DTYPES, M3Model

_TOKENIZER = ("tokenizer.model", "tokenizer_config.json", "special_tokens_map.json")
_HALF_DONE = ".half-done-"
_STALE_S = 24 * 3600.0


def default_cache() -> Path:
    """Where folders are kept unless another place is named."""
    return Path.home() / ".cache" / "m3-router"


def folder_name(backbone: M3Model) -> str:
    """One name for one content: the checkpoint's fingerprint, and the type of the weights."""
    dtype = str(backbone.dtype).removeprefix("torch.")
    return f"llama-{backbone.checkpoint.fingerprint[:32]}-{dtype}"


def split_language_model(backbone: M3Model, cache: Path) -> Path:
    """The folder in ``cache`` with the language model of ``backbone``, written if it is not there yet.

    It appears whole or not at all, whoever else writes it or is killed meanwhile. Raises OSError where it
    cannot be written. The language model must not have been dropped yet.
    """
    target = cache / folder_name(backbone)
    if not target.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        _clear(cache)
        with _half_done(cache) as folder:
            write_language_model(backbone, folder)
            try:
                folder.rename(target)
            except OSError:
                if not target.is_dir():  # else somebody else was faster
                    raise
        _sync(cache)
    return target


def write_language_model(backbone: M3Model, folder: Path) -> None:
    """config.json, weights and tokenizer, as transformers names them; on the disk when this returns.

    Raises OSError where they cannot be written.
    """
    language_model: Any = backbone.model.language_model
    try:
        language_model.save_pretrained(folder)
    except SafetensorError as error:  # what a full disk is there
        raise OSError(str(error)) from error
    (folder / "generation_config.json").unlink(missing_ok=True)  # when to stop is said with each request
    for name in _TOKENIZER:
        if (backbone.checkpoint.folder / name).is_file():
            shutil.copyfile(backbone.checkpoint.folder / name, folder / name)
    for path in (*folder.iterdir(), folder):
        _sync(path)


@contextmanager
def _half_done(cache: Path) -> Iterator[Path]:
    folder = Path(mkdtemp(prefix=_HALF_DONE, dir=cache))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # it is elsewhere when all went well


def _clear(cache: Path) -> None:
    """Removes what writers left that were killed: nobody writes for so long."""
    for folder in cache.glob(f"{_HALF_DONE}*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > _STALE_S:
                shutil.rmtree(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the folder, says how vLLM serves it; 2 and one line where that cannot be."""
    parser = argparse.ArgumentParser(prog="python -m m3_backbone.vllm_checkpoint", description=__doc__)
    parser.add_argument("checkpoint", help="'tiny', a folder or a hub name")
    parser.add_argument("--out", type=Path, default=default_cache(), help="folder to write into")
    parser.add_argument("--dtype", choices=list(DTYPES), default="float32")
    parser.add_argument("--vision-tower", help="CLIP's folder, where the checkpoint's own does not resolve")
    asked = parser.parse_args(arguments)
    try:
        backbone = load_backbone(asked.checkpoint, dtype=asked.dtype, vision_tower=asked.vision_tower)
        folder = split_language_model(backbone, asked.out)
    except (ValueError, OSError) as error:  # CheckpointError: the message has the remedy
        sys.stderr.write(f"{parser.prog}: {error}\n")
        return 2
    sys.stdout.write(f"{serve_command(folder, asked.dtype, backbone.context_tokens)}\n")
    return 0


def serve_command(folder: Path, dtype: str, context_tokens: int) -> str:
    """What starts vLLM on ``folder`` as `m3_backbone.vllm_remote` wants it."""
    return (
        f"vllm serve {folder} --served-model-name {folder.name} --dtype {dtype} --max-model-len "
        f"{context_tokens} --enable-prompt-embeds --no-enable-prefix-caching"
    )


if __name__ == "__main__":
    sys.exit(main())
