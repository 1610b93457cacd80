"""Where a report's numbers come from: commit, checkpoint, hashes of data and bundle, seeds, versions."""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from training.report.inputs import Inputs
from training.report.places import MANIFEST

PACKAGES = ("m3-router", "numpy", "onnxruntime", "pyarrow", "matplotlib")
PROJECT = Path(__file__).resolve().parents[2]


def commit(project: Path = PROJECT) -> tuple[str | None, bool]:
    """(commit, whether tracked files differ from it) of the running checkout; (None, False) outside one."""
    git = shutil.which("git")
    if git is None or not (project / ".git").exists():
        return None, False
    head = _run([git, "-C", str(project), "rev-parse", "HEAD"])
    changed = _run([git, "-C", str(project), "status", "--porcelain", "--untracked-files=no"])
    return (head or None), bool(changed)


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def of_command(command: str, packages: Sequence[str] = PACKAGES) -> dict[str, Any]:
    """What every result states, as plain JSON: the command that makes it again, when it ran, and the code.

    packages: names of those whose versions are stated.
    """
    head, changed = commit()
    return {
        "command": command,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": head,
        "uncommitted_changes": changed,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in packages},
    }


def made_by(p: Mapping[str, Any]) -> str:
    """The first of `of_command` as the beginning of a page's last line."""
    return (
        f"Made by `{p['command']}` on {p['created'][:10]} at commit `{p['commit'] or 'unknown'}`"
        f"{' with uncommitted changes' if p['uncommitted_changes'] else ''}"
    )


def collect(inputs: Inputs, *, command: str, draws: int, seed: int) -> dict[str, Any]:
    """Plain JSON. A table's hash is that of its manifest, which holds the hashes of its files."""
    bundle: Mapping[str, Any] | None = None
    if inputs.router is not None:
        b = inputs.router.bundle
        bundle = {
            "version": b.version,
            "candidate": b.candidate,
            "onnx_sha256": hashlib.sha256(b.onnx).hexdigest(),
            "provenance": dict(b.provenance),
        }
    return {
        **of_command(command),
        "backbone": str(inputs.table.manifest.get("backbone", "")),
        "backbone_fingerprint": inputs.table.backbone_fingerprint,
        "outcomes": {
            split: {"manifest_sha256": hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()}
            for split, folder in sorted(inputs.folders.items())
        },
        "bundle": bundle,
        "seeds": {"bootstrap": seed},
        "bootstrap_draws": draws,
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
