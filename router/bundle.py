"""A bundle: a folder with ``manifest.json``, ``predictor.onnx`` and, for cascades, ``escalation.onnx``.

It is all that serving needs, and nothing in it is pickled.

The manifest holds the hashes of the ONNX files, the ladder, the fingerprint of the backbone, the features,
the calibration, the prices of token budgets, the novelty threshold, the certificates, and what was set for
the second look.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from m3_backbone.scales import Ladder
from router.calibration import Calibration
from router.certificates import NOTHING, Certificates
from router.errors import BundleCorrupt, BundleError, BundleMismatch
from router.escalation import ESCALATION, Escalation
from router.features import FeatureSpec
from router.json_values import number
from router.prices import Prices

FORMAT = "m3-router-bundle"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
PREDICTOR = "predictor.onnx"

MAX_BYTES = {MANIFEST: 8 * 2**20, PREDICTOR: 64 * 2**20, ESCALATION: 64 * 2**20}
REFUSED = frozenset({".pkl", ".pickle", ".joblib", ".dill", ".pt", ".pth", ".ckpt", ".bin"})
"""Kinds of files that run code when they are loaded; a bundle that holds one is not a bundle."""

_AGAIN = "Fit the bundle again or restore the folder."


@dataclass(frozen=True)
class Bundle:
    """A router at rest.

    onnx: bytes of the graph `router.predictor.OnnxPredictor` runs. novelty_threshold: the novelty above
    which an image falls back to the full scale, or None. certificates: of `m3-train certify`, none before.
    candidate: which kind of predictor. provenance: how it was made (rows, seed, versions, hashes of the
    outcomes). escalation: the second look, None in a bundle whose answers stand as they are.
    """

    onnx: bytes
    ladder: Ladder
    features: FeatureSpec
    calibration: Calibration
    prices: Prices
    backbone: str
    backbone_fingerprint: str
    novelty_threshold: float | None = None
    certificates: Certificates = NOTHING
    candidate: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    escalation: Escalation | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """Fields of `RouteInputs` that the features read."""
        return self.features.needs

    @property
    def version(self) -> str:
        """Twelve hex digits of a hash over everything in the bundle."""
        return hashlib.sha256(self._manifest()).hexdigest()[:12]

    def check_backbone(self, fingerprint: str) -> None:
        """Raises `BundleMismatch`, naming both, unless the bundle was made for this backbone."""
        if fingerprint != self.backbone_fingerprint:
            raise BundleMismatch(
                f"The bundle was made for backbone {self.backbone_fingerprint!r} ({self.backbone}), the "
                f"backbone loaded is {fingerprint!r}: choose the bundle fitted on its outcomes, or fit one."
            )

    def write(self, folder: Path) -> None:
        """Write to ``folder``, all or nothing; a bundle that is there already is replaced.

        Raises `BundleError` when ``folder`` holds something else.
        """
        folder = Path(folder).absolute()  # "." has no name that it could be replaced under
        if folder.exists() and not (folder.is_dir() and (_is_bundle(folder) or not any(folder.iterdir()))):
            raise BundleError(f"{folder} exists and is not a bundle: remove it or choose another place.")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
            new, old = Path(scratch, "new"), Path(scratch, "old")
            new.mkdir()
            for name, graph in self._graphs.items():
                _write(new / name, graph)
            _write(new / MANIFEST, self._manifest())
            try:
                if folder.exists():
                    folder.rename(old)
                new.rename(folder)
            except BaseException:  # Ctrl-C too: the old one is in the folder that is removed below
                if old.exists() and not folder.exists():
                    old.rename(folder)
                raise
            shutil.rmtree(old, ignore_errors=True)

    @classmethod
    def load(cls, folder: Path) -> Bundle:
        """Read and verify. Raises `BundleError`, `BundleCorrupt` or `BundleMismatch`."""
        folder = Path(folder)
        try:
            if not folder.is_dir():
                raise BundleError(f"There is no bundle at {folder}: make one with `m3-train fit`.")
            manifest = _parse(_read(folder, MANIFEST), folder)
            _refuse_pickles(folder)  # only now: a folder without a manifest may be a whole disk
            graphs = {PREDICTOR: _read(folder, PREDICTOR)}
            if "escalation" in manifest:  # bundles of before have none
                graphs[ESCALATION] = _read(folder, ESCALATION)
        except OSError as err:
            raise BundleError(f"The bundle at {folder} cannot be read ({err.strerror}).") from err
        for name, graph in graphs.items():
            _verify(manifest, name, graph, folder)
        try:
            ladder = Ladder(tuple(manifest["ladder"]))
            prices = Prices.from_json(manifest["prices"])
            novelty = manifest["novelty"]
            return cls(
                onnx=graphs[PREDICTOR],
                ladder=ladder,
                features=FeatureSpec.from_json(manifest["features"]),
                calibration=Calibration.from_json(manifest["calibration"], len(ladder)),
                prices=prices,
                backbone=str(manifest["backbone"]["name"]),
                backbone_fingerprint=str(manifest["backbone"]["fingerprint"]),
                novelty_threshold=None if novelty is None else number(novelty["threshold"]),
                certificates=Certificates.from_json(manifest["certificates"], len(prices.prices)),
                candidate=str(manifest["candidate"]),
                provenance=dict(manifest["provenance"]),
                escalation=Escalation.from_json(manifest["escalation"], graphs[ESCALATION], len(ladder))
                if ESCALATION in graphs
                else None,
            )
        except (KeyError, TypeError, ValueError, OverflowError) as err:
            raise BundleCorrupt(f"The manifest at {folder} cannot be read ({err!r}). {_AGAIN}") from err

    @property
    def _graphs(self) -> dict[str, bytes]:
        """File name -> content."""
        second = {} if self.escalation is None else {ESCALATION: self.escalation.onnx}
        return {PREDICTOR: self.onnx, **second}

    def _manifest(self) -> bytes:
        novelty = None if self.novelty_threshold is None else {"threshold": self.novelty_threshold}
        value = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "candidate": self.candidate,
            "backbone": {"name": self.backbone, "fingerprint": self.backbone_fingerprint},
            "ladder": list(self.ladder),
            "needs": list(self.needs),
            "files": {
                name: {"sha256": hashlib.sha256(graph).hexdigest(), "bytes": len(graph)}
                for name, graph in self._graphs.items()
            },
            "prices": self.prices.to_json(),
            "novelty": novelty,
            "certificates": self.certificates.to_json(),
            "calibration": self.calibration.to_json(),
            "features": self.features.to_json(),
            "provenance": dict(self.provenance),
        }
        if self.escalation is not None:
            value["escalation"] = self.escalation.to_json()
        return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()


def _refuse_pickles(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in REFUSED:
            raise BundleCorrupt(
                f"The bundle at {folder} holds {path.name}: files of kind {path.suffix} are refused "
                "because loading one can run code. Remove it."
            )


def _is_bundle(folder: Path) -> bool:
    try:
        return bool(_parse(_read(folder, MANIFEST), folder))
    except BundleError:
        return False


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _read(folder: Path, name: str) -> bytes:
    path = folder / name
    if not path.is_file():
        raise BundleCorrupt(f"The bundle at {folder} has no {name}. {_AGAIN}")
    with path.open("rb") as file:
        content = file.read(MAX_BYTES[name] + 1)
    if len(content) > MAX_BYTES[name]:
        raise BundleCorrupt(
            f"{name} at {folder} is over {MAX_BYTES[name] // 2**20} MB: that is no bundle of ours."
        )
    return content


def _parse(content: bytes, folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(content, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError) as err:
        raise BundleCorrupt(f"The manifest at {folder} is not JSON of finite numbers. {_AGAIN}") from err
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BundleCorrupt(f"The manifest at {folder} is not that of a bundle ({FORMAT!r}). {_AGAIN}")
    if manifest.get("format_version") != FORMAT_VERSION:
        raise BundleMismatch(
            f"The bundle at {folder} has format version {manifest.get('format_version')!r}, this router "
            f"reads {FORMAT_VERSION}: fit the bundle again with this version."
        )
    return manifest


def _finite(number: str) -> float:
    """Python's JSON takes NaN, and 1e999 for infinity; a price or a threshold of either decides nothing."""
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number} is not a finite number")
    return value


def _verify(manifest: Mapping[str, Any], name: str, graph: bytes, folder: Path) -> None:
    try:
        wanted = str(manifest["files"][name]["sha256"])
    except (KeyError, TypeError) as err:
        raise BundleCorrupt(f"The manifest at {folder} names no hash of {name}. {_AGAIN}") from err
    got = hashlib.sha256(graph).hexdigest()
    if got != wanted:
        raise BundleCorrupt(
            f"{name} at {folder} has sha256 {got[:12]}..., its manifest says {wanted[:12]}...: the file "
            f"was altered or damaged. {_AGAIN}"
        )
