"""What serving needs to choose a scale: features, predictor, policy and the bundle that holds them.

Importing this package loads nothing but itself; the names below are imported when they are first used.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from router.bundle import Bundle
    from router.constraints import Constraints
    from router.errors import BundleCorrupt, BundleError, BundleMismatch, ConstraintError, M3Error
    from router.policy import Decision
    from router.predictor import Predictions
    from router.router import Router

_HOME = {
    "Bundle": "router.bundle",
    "BundleCorrupt": "router.errors",
    "BundleError": "router.errors",
    "BundleMismatch": "router.errors",
    "ConstraintError": "router.errors",
    "Constraints": "router.constraints",
    "Decision": "router.policy",
    "M3Error": "router.errors",
    "Predictions": "router.predictor",
    "Router": "router.router",
}

__all__ = [
    "Bundle",
    "BundleCorrupt",
    "BundleError",
    "BundleMismatch",
    "ConstraintError",
    "Constraints",
    "Decision",
    "M3Error",
    "Predictions",
    "Router",
    "embedded_bundle",
]


def embedded_bundle() -> Path:
    """Folder of the bundle that was trained for m3-tiny and is shipped with this package."""
    return Path(__file__).parent / "bundles" / "tiny"


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'router' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
