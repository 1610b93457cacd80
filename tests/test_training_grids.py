from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.records import OutcomeTable, Sample
from m3_backbone.scales import Ladder
from m3_backbone.summary import pooled_tokens, summarise_image
from tests.routing import SCALES, half, outcomes
from training.candidates.attention import Attention, Sizes
from training.candidates.attention_grids import AttentionGrids
from training.candidates.base import Charged, Examples, Exportable
from training.candidates.budget import Budget
from training.fit import build_spec
from training.grids import Grids, GridsError, build

LADDER = Ladder(SCALES)


@dataclass(frozen=True)
class Encoded:
    grid: torch.Tensor


@dataclass
class Encoder:
    """Grids that the colour of an image's first pixel determines."""

    fingerprint: str = "synthetic"
    ladder: Ladder = LADDER
    calls: list[int] = field(default_factory=list)

    def encode_image(self, image: Image.Image, /) -> Encoded:
        pixel = np.asarray(image)[0, 0]
        self.calls.append(int(pixel[0]) + 256 * int(pixel[1]))
        return Encoded(grid_of(self.calls[-1])[None])


def grid_of(number: int) -> torch.Tensor:
    values = np.random.default_rng(number).standard_normal((24, 24, 32)) + number % 3
    return torch.from_numpy(values.astype(np.float32))


def opening(number: int) -> Callable[[], Image.Image]:
    return lambda: Image.new("RGB", (4, 4), (number % 256, number // 256, 0))


def sample(image_id: str, number: int) -> Sample:
    return Sample(f"q-{image_id}", image_id, opening(number), "q", ("a",), "exact_match", "d", "dev")


def labelled(n_images: int, split: str = "router-train") -> tuple[OutcomeTable, list[Sample]]:
    """A table whose pooled tokens are those that `Encoder` gives, and its samples."""
    table = outcomes(n_images, split=split)
    pooled = [summarise_image(grid_of(i), LADDER).pooled for i in range(n_images)]
    return replace(table, pooled=half(np.stack(pooled))), [
        sample(image, i) for i, image in enumerate(table.image_ids)
    ]


def test_what_is_cached_averages_to_the_tokens_that_the_summary_hands_on() -> None:
    fine = pooled_tokens(grid_of(5), LADDER, 36)
    assert fine.shape == (36, 16)
    coarse = fine.reshape(3, 2, 3, 2, 16).mean(axis=(1, 3)).reshape(9, 16)
    np.testing.assert_allclose(coarse, summarise_image(grid_of(5), LADDER).pooled[1:], atol=5e-3)
    np.testing.assert_array_equal(
        pooled_tokens(grid_of(5), LADDER, 9), summarise_image(grid_of(5), LADDER).pooled[1:]
    )


def test_each_image_is_encoded_once_and_a_second_run_goes_on_behind_the_last_part(tmp_path: Path) -> None:
    table, samples = labelled(7)
    encoder = Encoder()
    build(encoder, [*samples[:5], *samples[:5]], tmp_path, part_images=2)
    assert encoder.calls == list(range(5))
    (tmp_path / "part-00002.npz").unlink()  # as if it had been killed before the last part
    built = build(encoder, samples, tmp_path, part_images=2)
    assert (built.cached, built.encoded) == (7, 3)
    assert encoder.calls[5:] == [4, 5, 6]
    found = Grids.open(tmp_path).of(table)
    np.testing.assert_array_equal(found[6], pooled_tokens(grid_of(6), LADDER, 36))


def test_an_image_that_cannot_be_opened_is_told_and_the_others_are_cached(tmp_path: Path) -> None:
    _, samples = labelled(3)

    def broken() -> Image.Image:
        raise OSError("no such file")

    built = build(Encoder(), [replace(samples[0], open_image=broken), *samples[1:]], tmp_path)
    assert built.unreadable == {samples[0].image_id: "no such file"}
    assert built.cached == 2


def test_another_backbone_missing_images_and_other_pictures_are_refused(tmp_path: Path) -> None:
    table, samples = labelled(4)
    with pytest.raises(GridsError, match="There are no grids"):
        Grids.open(tmp_path)
    build(Encoder(), samples[:3], tmp_path / "few")
    with pytest.raises(GridsError, match="1 of the table's 4 images have no grid"):
        Grids.open(tmp_path / "few").of(table)
    with pytest.raises(GridsError, match="holds grids of backbone 'synthetic'"):
        build(Encoder("another"), samples, tmp_path / "few")
    build(Encoder("another"), samples, tmp_path / "another")
    with pytest.raises(GridsError, match="are of backbone 'another'"):
        Grids.open(tmp_path / "another").of(table)
    swapped = [replace(samples[0], open_image=samples[1].open_image), *samples[1:]]
    build(Encoder(), swapped, tmp_path / "swapped")
    with pytest.raises(GridsError, match=r"1 images in .* are other pictures"):
        Grids.open(tmp_path / "swapped").of(table)


def test_a_damaged_part_and_a_folder_of_something_else_are_refused(tmp_path: Path) -> None:
    table, samples = labelled(2)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(GridsError, match="something other than grids"):
        build(Encoder(), samples, tmp_path / "mine")
    build(Encoder(), samples, tmp_path / "cache")
    (tmp_path / "cache" / "part-00000.npz").write_bytes(b"PK")
    with pytest.raises(GridsError, match="cannot be read"):
        Grids.open(tmp_path / "cache").of(table)


def test_attention_reads_the_finer_tokens_and_is_charged_for_them(tmp_path: Path) -> None:
    table, samples = labelled(40)
    build(Encoder(), samples, tmp_path)
    budget = Budget(({"learning_rate": 5e-3, "weight_decay": 0.1},), folds=2, epochs=2, patience=2)
    plain = Attention(budget=budget, dropout=0.0, sizes=Sizes(width=16, heads=2, hidden=16))
    finer = replace(AttentionGrids.of(tmp_path), attention=plain)
    examples = Examples.of(table, build_spec(table, plain.groups))
    without, fitted = (c.fit(examples, seed=0, threads=1) for c in (plain, finer))
    assert isinstance(fitted, Charged)
    assert isinstance(without, Charged)
    assert fitted.charge["flops"] > without.charge["flops"]
    assert not isinstance(fitted, Exportable)
    assert not np.array_equal(fitted.predict(examples).score, without.predict(examples).score)
