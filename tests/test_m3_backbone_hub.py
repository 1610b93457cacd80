"""Names: a folder, a hub name, and what a snapshot is called."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import huggingface_hub
import pytest
from huggingface_hub import errors

from m3_backbone import CheckpointError
from m3_backbone.hub import local_folder, model_name
from tests.backbones import write_checkpoint


def test_a_snapshot_of_the_hub_has_the_name_of_its_repository(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--mucai--llava-v1.5-7b-m3" / "snapshots" / "0f3c"
    assert model_name(snapshot) == "llava-v1.5-7b-m3"
    assert model_name(tmp_path / "m3-tiny") == "m3-tiny"


def test_a_folder_is_taken_as_it_is_and_anything_else_must_be_a_hub_name(tmp_path: Path) -> None:
    assert local_folder(tmp_path) == tmp_path.resolve()
    for path in (Path("nowhere"), "a/b/c", "tiny"):
        with pytest.raises(CheckpointError, match="neither a folder nor a hub name"):
            local_folder(path)


@pytest.mark.parametrize("path", ["./nope", "../nope", "/nope", "~/nope", "~nobody/nope", Path("/nope")])
def test_what_begins_as_a_path_does_is_never_asked_of_the_hub(
    monkeypatch: pytest.MonkeyPatch, path: str | Path
) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("asked the hub"))
    with pytest.raises(CheckpointError) as caught:
        local_folder(path)
    assert str(caught.value).startswith(f"There is no folder {path}.")
    assert ("Write it out" in str(caught.value)) == str(path).startswith("~")


def test_a_checkpoint_that_the_hub_does_not_give_is_an_error_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(error: Exception) -> str:
        def download(name: str, **options: object) -> str:
            raise error

        monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
        with pytest.raises(CheckpointError, match="mucai/m3 is no folder here") as caught:
            local_folder("mucai/m3")
        return str(caught.value)

    response: Any = httpx.Response(403, request=httpx.Request("GET", "https://hub"))
    assert "hf download NAME --local-dir FOLDER" in refused(errors.LocalEntryNotFoundError("offline"))
    assert "HF_HOME" in refused(errors.OfflineModeIsEnabled("offline"))
    assert "hf auth login" in refused(errors.GatedRepoError("gated", response=response))
    assert "Check the name" in refused(errors.RepositoryNotFoundError("none", response=response))
    assert "OSError. Fetch it by hand" in refused(OSError("no space left"))


def test_a_snapshot_in_the_cache_is_used_where_the_hub_cannot_be_reached(tmp_path: Path) -> None:
    """In a process of its own: huggingface_hub reads its variables when it is imported."""
    revision = "0" * 40
    home = tmp_path / "hub" / "models--mucai--m3"
    write_checkpoint(home / "snapshots" / revision)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(revision)
    code = "from m3_backbone import load_backbone; print(load_backbone('mucai/m3').name)"
    environment = os.environ | {"HF_HUB_CACHE": str(home.parent), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[1],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout.strip(), done.returncode) == ("m3", 0), done.stderr
