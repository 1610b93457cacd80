"""Where a measurement of a backbone comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from training.bench.machine import processors
from training.report.provenance import made_by, of_command

if TYPE_CHECKING:
    from m3_backbone.model import M3Model


def provenance(
    backbone: M3Model, command: str, *, dtype: str, repeats: int, packages: Sequence[str]
) -> dict[str, Any]:
    """packages: names of those whose versions are stated."""
    return {
        **of_command(command, packages),
        "backbone": backbone.name,
        "backbone_fingerprint": backbone.fingerprint,
        "device": _device(backbone.device),
        "dtype": dtype,
        "threads": torch.get_num_threads(),
        "attention": "sdpa",
        "repeats": repeats,
    }


def last_line(p: Mapping[str, Any]) -> str:
    """`provenance` as the last line of a page."""
    versions = ", ".join(f"{name} {number}" for name, number in p["versions"].items())
    return (
        f"{made_by(p)}: {p['backbone']} (`{p['backbone_fingerprint']}`), {p['device']}, {p['threads']} "
        f"threads, {p['dtype']}, attention {p['attention']}, Python {p['python']}, {versions}."
    )


def _device(device: torch.device) -> str:
    """What it is called by people."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {processors()[1]}"
