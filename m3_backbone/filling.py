"""Weights -> modules: every weight in its place, or one error that names all that do not fit."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from m3_backbone.modules import M3Modules, official_names
from m3_backbone.source import Source
from m3_backbone.types import CheckpointError
from m3_backbone.weights import check_files, read_weights

_NAMED = 8  # weights named in an error before it counts the rest


def fill(modules: M3Modules, source: Source, *, dtype: torch.dtype, device: torch.device) -> None:
    """Loads ``source`` into modules on the meta device, in ``dtype`` on ``device``.

    Raises `CheckpointError` naming all weights that are missing, surplus, misshapen, stored twice, not
    finite or beyond ``dtype``; the modules are then as they were.
    """
    names = official_names(modules)
    shapes = {name: value.shape for name, value in modules.state_dict().items()}
    tied = modules.language_model.config.tie_word_embeddings
    state: dict[str, Tensor] = {}
    faulty: set[str] = set()
    kinds = ("surplus", "misshapen", "stored twice", "not finite", f"too large for {dtype}")
    faults: dict[str, list[str]] = {kind: [] for kind in kinds}

    def take(stored: str, name: str, tensor: Tensor) -> None:
        key = names.get(name)
        if key is None:
            if not (tied and name == "lm_head.weight"):
                faults["surplus"].append(stored)
            return
        if key in state or key in faulty:
            kind, text = "stored twice", stored
        elif tensor.shape != shapes[key]:
            kind, text = "misshapen", f"{stored} {list(tensor.shape)} instead of {list(shapes[key])}"
        elif not torch.isfinite(tensor).all():
            kind, text = "not finite", stored
        else:
            placed = tensor.to(device=device, dtype=dtype)
            if tensor.dtype == dtype or torch.isfinite(placed).all():
                state[key] = placed
                return
            kind, text = f"too large for {dtype}", stored
        faults[kind].append(text)
        faulty.add(key)

    check_files([path for path, _ in source.weights])
    for path, rename in source.weights:
        for stored, tensor in read_weights(path):
            name = rename(stored)
            if name is not None:
                take(stored, name, tensor)
    missing = [source.spell(name) for name, key in names.items() if key not in state and key not in faulty]
    problems = [f"{len(texts)} {kind}: {_some(texts)}" for kind, texts in faults.items() if texts]
    if missing:
        problems.insert(0, f"{len(missing)} missing: {_some(missing)}")
    if problems:
        raise CheckpointError("The weights do not fit config.json. " + "; ".join(problems) + ".")
    modules.load_state_dict(state, strict=False, assign=True)
    _rebuild_buffers(modules, device)
    if tied:
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
