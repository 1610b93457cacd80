"""Names: a folder, a hub name, and what a snapshot is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from m3_backbone import CheckpointError
from m3_backbone.hub import local_folder, model_name


def test_a_snapshot_of_the_hub_has_the_name_of_its_repository(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--mucai--llava-v1.5-7b-m3" / "snapshots" / "0f3c"
    assert model_name(snapshot) == "llava-v1.5-7b-m3"
    assert model_name(tmp_path / "m3-tiny") == "m3-tiny"


def test_a_folder_is_taken_as_it_is_and_anything_else_must_be_a_hub_name(tmp_path: Path) -> None:
    assert local_folder(tmp_path) == tmp_path.resolve()
    for path in (tmp_path / "nowhere", "a/b/c", "tiny"):
        with pytest.raises(CheckpointError, match="neither a folder nor a hub name"):
            local_folder(path)
