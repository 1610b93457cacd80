"""Where a measurement comes from: what every one of them states."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from training.report.provenance import commit

if TYPE_CHECKING:
    from m3_backbone.model import M3Model


def provenance(
    backbone: M3Model, command: str, *, dtype: str, repeats: int, packages: Sequence[str]
) -> dict[str, Any]:
    """packages: names of those whose versions are stated."""
    head, changed = commit()
    return {
        "command": command,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": head,
        "uncommitted_changes": changed,
        "backbone": backbone.name,
        "backbone_fingerprint": backbone.fingerprint,
        "device": _device(backbone.device),
        "dtype": dtype,
        "threads": torch.get_num_threads(),
        "attention": "sdpa",
        "repeats": repeats,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
    }


def made_by(p: dict[str, Any]) -> str:
    """`provenance` as the last line of a page."""
    versions = ", ".join(f"{name} {number}" for name, number in p["versions"].items())
    return (
        f"Made by `{p['command']}` on {p['created'][:10]} at commit `{p['commit'] or 'unknown'}`"
        f"{' with uncommitted changes' if p['uncommitted_changes'] else ''}: {p['backbone']} "
        f"(`{p['backbone_fingerprint']}`), {p['device']}, {p['threads']} threads, {p['dtype']}, "
        f"attention {p['attention']}, Python {p['python']}, {versions}."
    )


def _device(device: torch.device) -> str:
    """What it is called by people."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"CPU, {names[0] if names else platform.machine()}"
