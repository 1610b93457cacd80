from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from router.bundle import FORMAT_VERSION, MANIFEST, MAX_BYTES, PREDICTOR, Bundle
from router.errors import BundleCorrupt, BundleError, BundleMismatch
from tests.routing import small_fit


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle as written."""
    path = tmp_path / "bundle"
    small_fit().bundle.write(path)
    return path


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_what_is_loaded_is_what_was_written(folder: Path) -> None:
    bundle = small_fit().bundle
    again = Bundle.load(folder)
    assert again.version == bundle.version
    assert len(again.version) == 12
    assert (again.onnx, again.ladder, again.features) == (bundle.onnx, bundle.ladder, bundle.features)
    assert (again.calibration, again.prices) == (bundle.calibration, bundle.prices)
    assert again.novelty_threshold == bundle.novelty_threshold
    assert again.needs == bundle.features.needs
    assert (again.backbone_fingerprint, again.candidate) == ("synthetic", "lightgbm_per_scale")
    assert again.provenance["n_train"] == 1200


def test_a_bundle_is_two_files_and_the_manifest_is_for_people_too(folder: Path) -> None:
    assert sorted(p.name for p in folder.iterdir()) == [MANIFEST, PREDICTOR]
    manifest = json.loads((folder / MANIFEST).read_text())
    assert manifest["certificates"] == []
    assert manifest["needs"] == [
        "grid_stats",
        "pooled",
        "image_size",
        "views",
        "question",
        "interaction",
        "question_tokens",
    ]
    assert manifest["files"][PREDICTOR]["bytes"] == (folder / PREDICTOR).stat().st_size


def test_the_version_changes_with_anything_in_the_bundle() -> None:
    bundle = small_fit().bundle
    changed = [
        replace(bundle, onnx=bundle.onnx + b"x"),
        replace(bundle, novelty_threshold=None),
        replace(bundle, backbone_fingerprint="other"),
        replace(bundle, prices=replace(bundle.prices, default=0.5)),
    ]
    assert len({b.version for b in (bundle, *changed)}) == 5


def test_a_bundle_of_another_backbone_is_refused_naming_both() -> None:
    bundle = small_fit().bundle
    bundle.check_backbone("synthetic")
    with pytest.raises(BundleMismatch, match=r"'synthetic' .* loaded is 'other'"):
        bundle.check_backbone("other")


def test_writing_replaces_a_bundle_and_leaves_nothing_else_behind(folder: Path) -> None:
    changed = replace(small_fit().bundle, candidate="second")
    changed.write(folder)
    assert Bundle.load(folder).candidate == "second"
    assert [p.name for p in folder.parent.iterdir()] == ["bundle"]


def test_writing_never_replaces_what_is_not_a_bundle(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_bytes(b"x")
    (tmp_path / "file").write_text("x")
    for name in ("photos", "file"):
        with pytest.raises(BundleError, match="exists and is not a bundle"):
            small_fit().bundle.write(tmp_path / name)
    assert (tmp_path / "photos" / "holiday.jpg").exists()
    (tmp_path / "empty").mkdir()
    small_fit().bundle.write(tmp_path / "empty")
    assert Bundle.load(tmp_path / "empty").version == small_fit().bundle.version


@pytest.mark.parametrize("error", [OSError("stopped"), KeyboardInterrupt("stopped")])
def test_a_write_that_does_not_end_leaves_the_old_bundle(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise error
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(type(error), match="stopped"):
        replace(small_fit().bundle, candidate="second").write(folder)
    assert Bundle.load(folder).candidate == "lightgbm_per_scale"


def test_a_bundle_is_replaced_from_inside_its_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    replace(small_fit().bundle, candidate="second").write(Path())
    monkeypatch.undo()
    assert Bundle.load(folder).candidate == "second"


def test_a_folder_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="m3-train fit"):
        Bundle.load(tmp_path / "none")


@pytest.mark.parametrize("name", ["model.pkl", "sub/scaler.joblib", "weights.PT", "x.pickle"])
def test_a_pickled_file_anywhere_in_the_folder_is_refused(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"\x80\x04")
    with pytest.raises(BundleCorrupt, match="refused because loading one can run code"):
        Bundle.load(folder)


def test_one_changed_bit_of_the_graph_is_noticed(folder: Path) -> None:
    content = bytearray((folder / PREDICTOR).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / PREDICTOR).write_bytes(content)
    with pytest.raises(BundleCorrupt, match="altered or damaged"):
        Bundle.load(folder)


@pytest.mark.parametrize("name", [MANIFEST, PREDICTOR])
def test_a_missing_or_huge_file_is_named(folder: Path, name: str) -> None:
    with (folder / name).open("r+b") as file:
        file.truncate(MAX_BYTES[name] + 1)
    with pytest.raises(BundleCorrupt, match=f"{name} .* is over"):
        Bundle.load(folder)
    (folder / name).unlink()
    with pytest.raises(BundleCorrupt, match=f"has no {name}"):
        Bundle.load(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("\udcff", "is not JSON"),
        ("[]", "not that of a bundle"),
        ('{"format": "other"}', "not that of a bundle"),
        ('{"format": 1e999}', "finite"),
        ('{"format": NaN}', "finite"),
        ("[" * 200_000, "is not JSON"),
    ],
)
def test_a_manifest_that_is_none_is_refused(folder: Path, text: str, message: str) -> None:
    (folder / MANIFEST).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(BundleCorrupt, match=message):
        Bundle.load(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.pop("ladder"),
        lambda m: m.update(ladder=[9, 1]),
        lambda m: m.update(ladder=[1, "9"]),
        lambda m: m.pop("prices"),
        lambda m: m["prices"].update(price=[3, 2]),
        lambda m: m.update(novelty={"threshold": "high"}),
        lambda m: m.update(novelty={"threshold": float("inf")}),
        lambda m: m.update(backbone="m3-tiny"),
        lambda m: m.update(files={}),
        lambda m: m["calibration"].update(score=[]),
        lambda m: m["calibration"]["score"][0].update(kind="platt", slope=10**400, offset=0),
        lambda m: m["prices"].update(default=float("nan")),
        lambda m: m["prices"].update(default="nan"),
        lambda m: m["prices"].update(default=-1.0),
        lambda m: m["prices"].update(default=True),
        lambda m: m["prices"]["price"].__setitem__(0, float("nan")),
        lambda m: m["features"].update(question_size=10**12, basis=[]),
        lambda m: m["features"].update(question_size=-1, basis=[]),
        lambda m: m["features"].update(pooled_shape=[10**6, 10**6]),
        lambda m: m["features"].update(summary_version=[1]),
        lambda m: m.update(certificates=[1]),
        lambda m: m.update(novelty={"threshold": "nan"}),
        lambda m: m.update(novelty={"threshold": 10**400}),
        lambda m: m["features"].pop("groups"),
    ],
)
def test_a_damaged_manifest_is_refused_and_says_so(
    folder: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    edit(folder, change)
    with pytest.raises(BundleCorrupt, match=r"Fit|fit"):
        Bundle.load(folder)


def test_another_format_version_is_a_mismatch_not_damage(folder: Path) -> None:
    edit(folder, lambda m: m.update(format_version=FORMAT_VERSION + 1))
    with pytest.raises(BundleMismatch, match=f"reads {FORMAT_VERSION}"):
        Bundle.load(folder)


def test_a_name_that_no_file_system_takes_is_a_bundle_error(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot be read"):
        Bundle.load(tmp_path / ("x" * 5000))


def test_a_file_that_cannot_be_read_is_a_bundle_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Path, *args: object) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(BundleError, match="Permission denied"):
        Bundle.load(folder)


def test_a_folder_without_a_manifest_is_refused_without_a_walk_through_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def walk(self: Path, pattern: str) -> object:
        raise AssertionError("the folder may be a whole disk")

    monkeypatch.setattr(Path, "rglob", walk)
    with pytest.raises(BundleCorrupt, match=MANIFEST):
        Bundle.load(tmp_path)


def test_a_bundle_reached_through_links_is_read_and_a_link_to_nothing_or_a_device_is_not(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(folder)
    assert Bundle.load(tmp_path / "link").version == small_fit().bundle.version
    for target in (tmp_path / "nothing", Path("/dev/zero"), folder / PREDICTOR):
        (folder / PREDICTOR).unlink()
        (folder / PREDICTOR).symlink_to(target)
        with pytest.raises(BundleCorrupt, match=f"has no {PREDICTOR}"):
            Bundle.load(folder)
