"""Where the parts of a checkpoint lie and what its weights are called: what every layout comes down to."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m3_backbone.config import Conditioning, M3Config

Rename = Callable[[str], str | None]
"""Name of a weight in a file -> its official LLaVA-M3 name; None for what is ignored."""

TOWER = "model.vision_tower.vision_tower."
"""Before the official names of the tower's weights."""

_STALE = re.compile(r"(rotary_emb\.inv_freq|position_ids)$")  # buffers that old versions saved


@dataclass(frozen=True, slots=True)
class Source:
    """A checkpoint that was looked at, with no weight read yet.

    config: the official keys, whatever the layout. weights: files and how their names are to be read.
    spell: official name -> the name that this layout gives it, for messages.
    roles: (role, file) of all that decides what the model answers; roles name no place.
    """

    config: M3Config
    tower_config: Mapping[str, Any]
    conditioning: Conditioning
    weights: tuple[tuple[Path, Rename], ...]
    roles: tuple[tuple[str, Path], ...]
    spell: Callable[[str], str] = str


def is_stale(name: str) -> bool:
    """Whether ``name`` is a buffer that is computed and not loaded."""
    return _STALE.search(name) is not None
