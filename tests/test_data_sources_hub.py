"""Data sets by name: against a small hub made here, reached over HTTP as the real one is."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.sources import SourceError, load
from tests.sources import png

ROOT = Path(__file__).parent.parent
COMMIT = "0123456789abcdef0123456789abcdef01234567"
PROGRAM = """
import json, sys
from data.sources import SourceError, load
try:
    for s in load(sys.argv[1], limit=int(sys.argv[2]) or None):
        size = s.open_image().size
        print(json.dumps([s.sample_id, s.image_id, s.question, list(s.answers), list(size)]))
except SourceError as error:
    print(f"SourceError: {error}")
"""


class Hub(BaseHTTPRequestHandler):
    """What huggingface_hub asks of the hub to list a repository's branch and to fetch its files."""

    files: dict[str, bytes]
    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.asked.append(f"{self.command} {path}")
        tree = "/api/datasets/owner/pets/tree/refs/convert/parquet"
        resolve = "/datasets/owner/pets/resolve/refs/convert/parquet/"
        if path.rstrip("/") == tree:
            listing = [
                {"type": "file", "path": name, "size": len(content), "oid": _etag(content)}
                for name, content in self.files.items()
            ]
            self._send(200, json.dumps(listing).encode(), {"Content-Type": "application/json"})
        elif path.startswith(resolve) and path.removeprefix(resolve) in self.files:
            content = self.files[path.removeprefix(resolve)]
            self._send(200, content, {"ETag": f'"{_etag(content)}"', "X-Repo-Commit": COMMIT})
        elif "/owner/pets/" in path:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
        elif "/owner/unconverted/" in path:
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        else:
            self._send(401, b"", {"X-Error-Code": "RepoNotFound"})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def _etag(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


@contextmanager
def hub(files: dict[str, bytes]) -> Iterator[tuple[str, list[str]]]:
    """(address, requests so far) of a hub with one data set, owner/pets."""
    handler = type("Handler", (Hub,), {"files": files, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler.asked  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()


def parquet(folder: Path, *numbers: int) -> bytes:
    """A file with a row per number, its picture inside."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "image": {"bytes": png(folder, n), "path": None},
            "question": f"What is {n}?",
            "answers": [f"a{n}"],
            "id": n,
        }
        for n in numbers
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "made.parquet")
    return (folder / "made.parquet").read_bytes()


def run(spec: str, home: Path, endpoint: str, limit: int = 0, **more: str) -> list[str]:
    """What a process of its own prints: huggingface_hub reads its address and cache when it is imported."""
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("HF_")},
        "HF_HOME": str(home),
        "HF_ENDPOINT": endpoint,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        **more,
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, spec, str(limit)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_data_set_is_read_by_name_file_by_file_and_then_from_the_cache(tmp_path: Path) -> None:
    files = {
        "default/test/0000.parquet": parquet(tmp_path / "a", 1, 2),
        "default/test/0001.parquet": parquet(tmp_path / "b", 3),
        "default/train/0000.parquet": parquet(tmp_path / "c", 4),
        "README.md": b"# Pets",
    }
    home = tmp_path / "home"
    with hub(files) as (endpoint, asked):
        first = run("hf:owner/pets/test", home, endpoint, limit=1)
        assert [json.loads(line)[0] for line in first] == ["pets/1"]
        assert not any("0001.parquet" in request for request in asked)  # not asked for: not fetched
        found = [json.loads(line) for line in run("hf:owner/pets/default/test", home, endpoint)]
        (train,) = run("hf:owner/pets/train", home, endpoint)
    assert found == [
        ["pets/1", "pets/default/test/0000.parquet, row 1", "What is 1?", ["a1"], [7, 5]],
        ["pets/2", "pets/default/test/0000.parquet, row 2", "What is 2?", ["a2"], [7, 5]],
        ["pets/3", "pets/default/test/0001.parquet, row 1", "What is 3?", ["a3"], [7, 5]],
    ]
    assert json.loads(train)[0] == "pets/4"
    offline = run("hf:owner/pets/test", home, endpoint, HF_HUB_OFFLINE="1")
    assert [json.loads(line) for line in offline] == found


def test_what_the_hub_does_not_have_is_said(tmp_path: Path) -> None:
    files = {
        "default/test/0000.parquet": parquet(tmp_path / "a", 1),
        "more/test/0000.parquet": parquet(tmp_path / "b", 2),
        "more/partial-train/0000.parquet": parquet(tmp_path / "c", 3),
    }
    home = tmp_path / "home"
    with hub(files) as (endpoint, _):
        (several,) = run("hf:owner/pets/test", home, endpoint)
        (unknown,) = run("hf:owner/pets/dev", home, endpoint)
        (part,) = run("hf:owner/pets/more/train", home, endpoint)
        (read,) = run("hf:owner/pets/more/partial-train", home, endpoint)
        (unconverted,) = run("hf:owner/unconverted", home, endpoint)
        (nobody,) = run("hf:nobody/nothing", home, endpoint)
    there = "hf:owner/pets/default/test, hf:owner/pets/more/partial-train, hf:owner/pets/more/test"
    assert several == f"SourceError: owner/pets has several splits. Name one: {there}."
    assert unknown == f"SourceError: owner/pets has no split 'dev'. Name one: {there}."
    assert "a first part of owner/pets/more/train alone" in part
    assert "Ask for that part, hf:owner/pets/more/partial-train, or copy the whole" in part
    assert json.loads(read)[0] == "pets/3"
    assert "owner/unconverted has no Parquet files under refs/convert/parquet" in unconverted
    assert "nobody/nothing is no folder here, and no data set that the hub would give" in nobody


def test_without_a_network_the_error_says_how_to_copy_the_data_set(tmp_path: Path) -> None:
    (said,) = run("hf:owner/pets/test", tmp_path, "http://127.0.0.1:9", HF_HUB_OFFLINE="1")
    assert said.startswith("SourceError: owner/pets is no folder here, and the hub cannot be asked for it")
    assert "hf:FOLDER reads what save_to_disk wrote, parquet:FOLDER a repository's Parquet files" in said


def test_a_row_without_its_picture_inside_is_named(tmp_path: Path) -> None:
    pq.write_table(
        pa.Table.from_pylist([{"image": "a.png", "question": "q", "answers": "a"}]), tmp_path / "x.parquet"
    )
    files = {"default/test/0000.parquet": (tmp_path / "x.parquet").read_bytes()}
    with hub(files) as (endpoint, _):
        (said,) = run("hf:owner/pets", tmp_path / "home", endpoint)
    assert "0000.parquet, row 1: image is 'a.png'; of a data set by name the pictures are inside" in said


def test_a_folder_wins_over_a_name_and_what_is_no_name_is_a_missing_folder(tmp_path: Path) -> None:
    (tmp_path / "owner" / "pets").mkdir(parents=True)
    with pytest.raises(SourceError, match=r"state\.json is missing"):
        list(load("hf:owner/pets", data_dir=tmp_path))
    with pytest.raises(SourceError, match=r"state\.json is missing"):
        list(load(f"hf:{tmp_path / 'nowhere'}"))
