"""Certificates at rest: in bundles, and damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from router.bundle import MANIFEST, Bundle
from router.certificates import Certificates, TokenBounds
from router.errors import BundleCorrupt
from tests.certified import GRID
from tests.routing import small_fit


def test_a_bundle_holds_its_certificates_and_its_version_changes_with_them(tmp_path: Path) -> None:
    plain = small_fit().bundle
    tokens = TokenBounds(0.05, 1000, plain.prices.mean_tokens)
    bundle = replace(plain, certificates=replace(GRID, tokens=(tokens,)))
    bundle.write(tmp_path / "b")
    again = Bundle.load(tmp_path / "b")
    assert again.certificates == bundle.certificates
    assert again.version == bundle.version != plain.version


def test_certificates_name_their_dtype_and_those_that_do_not_are_of_float32(tmp_path: Path) -> None:
    plain = small_fit().bundle
    tokens = TokenBounds(0.05, 1000, plain.prices.mean_tokens)
    for dtype in ("float32", "bfloat16"):
        replace(plain, certificates=replace(GRID, tokens=(tokens,), dtype=dtype)).write(tmp_path / "b")
        stored = json.loads((tmp_path / "b" / MANIFEST).read_text())["certificates"]
        assert stored.get("dtype", "float32") == dtype
        assert ("dtype" in stored) == (dtype != "float32")  # versions of bundles from before stay
        assert Bundle.load(tmp_path / "b").certificates.dtype == dtype


def test_a_bundle_from_before_certificates_has_none_and_keeps_its_version(tmp_path: Path) -> None:
    plain = small_fit().bundle
    plain.write(tmp_path / "b")
    assert json.loads((tmp_path / "b" / MANIFEST).read_text())["certificates"] == []
    assert Bundle.load(tmp_path / "b").certificates == Certificates()
    assert not Bundle.load(tmp_path / "b").certificates


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.pop("accuracy"),
        lambda c: c.update(accuracy={}, tokens=[1]),
        lambda c: c.update(max_new_tokens=1.5),
        lambda c: c.update(outcomes=None),
        lambda c: c.update(dtype=16),
        lambda c: c["accuracy"][0].update(loss="harm"),
        lambda c: c["accuracy"][0].update(epsilon=0),
        lambda c: c["accuracy"][0].update(epsilon="0.01"),
        lambda c: c["accuracy"][0].update(delta=1.0),
        lambda c: c["accuracy"][0].update(n_images=0),
        lambda c: c["accuracy"][0].update(n_images=True),
        lambda c: c["accuracy"][0].update(bound=0.2),
        lambda c: c["accuracy"][0].update(visual_tokens=-1),
        lambda c: c["accuracy"][0].update(group=1),
        lambda c: c["accuracy"][1]["setting"].update(price="nan"),
        lambda c: c["accuracy"][1]["setting"].pop("threshold"),
        lambda c: c["accuracy"][1].update(setting=[1]),
        lambda c: c["tokens"][0].update(delta=2),
        lambda c: c["tokens"][0]["bounds"].pop(),
        lambda c: c["tokens"][0]["bounds"].__setitem__(0, -1.0),
        lambda c: c["tokens"][0]["bounds"].reverse(),
    ],
)
def test_damaged_certificates_are_refused(tmp_path: Path, change: Callable[[Any], object]) -> None:
    plain = small_fit().bundle
    tokens = TokenBounds(0.05, 1000, plain.prices.mean_tokens)
    replace(plain, certificates=replace(GRID, tokens=(tokens,))).write(tmp_path / "b")
    manifest = json.loads((tmp_path / "b" / MANIFEST).read_text())
    change(manifest["certificates"])
    (tmp_path / "b" / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BundleCorrupt, match=r"Fit|fit"):
        Bundle.load(tmp_path / "b")
