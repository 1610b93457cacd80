"""The log of openings of the test split: one JSON line per opening, committed with the project.

A test split that is looked at often is a development split. So every look is written down before it is
taken: when, at which commit, which data and which router.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.report.provenance import PROJECT

NAME = Path("docs") / "test_openings.jsonl"


def default_log() -> Path:
    """The project's log; outside a checkout (an installed package) one under the working directory."""
    return (PROJECT if (PROJECT / "pyproject.toml").is_file() else Path.cwd()) / NAME


def record_opening(provenance: Mapping[str, Any], log: Path) -> int:
    """Append one opening and return how many there are now. Raises `OSError` where it cannot be written."""
    line = {
        key: provenance[key]
        for key in ("created", "commit", "uncommitted_changes", "command", "backbone_fingerprint", "outcomes")
    }
    bundle = provenance["bundle"]
    line["bundle"] = (
        None if bundle is None else {k: bundle[k] for k in ("version", "candidate", "onnx_sha256")}
    )
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())
    with log.open(encoding="utf-8") as file:
        return sum(1 for _ in file)
