"""What is kept of a fit: the settings along its frontier on the compared table and on tune, in one file.

The model itself is not kept: all that a comparison needs is which scales it chose. Files are written whole
or not at all, so a run that is killed goes on with the fits that it lacks.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.files import write_bytes
from training.evaluation.settings import Settings

VERSION = 1


@dataclass(frozen=True)
class About:
    """Where a fit comes from, plain JSON. pairs, images: that it was fitted on. seconds: of all cores, from
    features to choices; waiting on a busy machine does not count.

    charge: FLOPs per request of routing itself, by cost name (`training.comparing.charges`).
    """

    name: str
    seed: int
    variant: str
    pairs: int
    images: int
    seconds: float
    created: str
    commit: str | None
    charge: Mapping[str, float] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Fit:
    """path: on the compared table; tune_path: the same settings on tune (once per fold, if there are)."""

    about: About
    path: Settings
    tune_path: Settings


class Fits:
    """The folder of fits; ``folder`` is made when the first one is written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, name: str) -> Fit | None:
        """The fit in the file ``name``; None where there is none that can be read: it is then made again."""
        try:
            # From memory: numpy leaves a file open that it cannot read.
            file = io.BytesIO((self.folder / name).read_bytes())
            with np.load(file, allow_pickle=False) as arrays:
                content = {key: arrays[key] for key in arrays.files}
            head = json.loads(content["head"].tobytes())
            if head["version"] != VERSION:
                return None
            about = About(**head["about"])
            return Fit(about, *(_settings(head[of], content, of) for of in ("path", "tune_path")))
        except Exception:  # zipfile, zlib and numpy raise a dozen kinds for a file that was damaged
            return None

    def write(self, name: str, fit: Fit) -> None:
        """Raises `OSError` where it cannot be written."""
        paths = {"path": fit.path, "tune_path": fit.tune_path}
        head = {"version": VERSION, "about": asdict(fit.about)}
        arrays: dict[str, NDArray[Any]] = {}
        for of, path in paths.items():
            head[of] = {
                "name": path.name,
                "target_is": path.target_is,
                "targets": list(path.targets),
                "charge": dict(path.charge),
                "n_scales": None if path.tried is None else path.tried.shape[2],
            }
            arrays[f"{of}_choices"] = path.choices
            if path.tried is not None:
                arrays[f"{of}_tried"] = np.packbits(path.tried)
        arrays["head"] = np.frombuffer(json.dumps(head).encode(), np.uint8)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_bytes(self.folder / name, buffer.getvalue())


def _settings(head: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], of: str) -> Settings:
    choices = arrays[f"{of}_choices"]
    tried = None
    if head["n_scales"] is not None:
        shape = (*choices.shape, int(head["n_scales"]))
        packed = arrays[f"{of}_tried"]
        tried = np.unpackbits(packed, count=int(np.prod(shape))).reshape(shape).astype(np.bool_)
    return Settings(
        head["name"], head["target_is"], tuple(head["targets"]), choices, dict(head["charge"]), tried
    )
