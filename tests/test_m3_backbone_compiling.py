from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pytest
import torch

from m3_backbone import GenerationRequest, load_backbone
from m3_backbone.model import M3Model
from tests.backbones import picture, write_checkpoint


def answers(backbone: M3Model) -> list[tuple[int, ...]]:
    """One image alone and two together, at every scale, in a batch and one by one."""
    images = backbone.encode_images([picture()]) + backbone.encode_images([picture(1), picture(2)])
    requests = [
        GenerationRequest((f"What is {n}?",), ((images[n], scale),), max_new_tokens=4)
        for n in range(3)
        for scale in backbone.ladder
    ]
    results = backbone.generate(requests)
    results += [answer for request in requests[::4] for answer in backbone.generate([request])]
    return [answer.token_ids for answer in results]


def test_compiled_parts_answer_as_the_plain_ones_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_checkpoint(tmp_path / "m3")
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    compiled = load_backbone(folder, compiled=True)
    assert answers(compiled) == answers(load_backbone(folder))
    request = GenerationRequest(("What?",), ((compiled.encode_image(picture()), 9),))
    assert compiled.prefill_logits(request).dtype == torch.float32


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_real_kernels_answer_as_the_plain_ones_do_and_are_made_once_for_all_layers(tmp_path: Path) -> None:
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        pytest.skip("there is no C++ compiler")
    from torch._dynamo.utils import counters

    folder = write_checkpoint(tmp_path / "m3", num_hidden_layers=10)
    counters.clear()
    assert answers(load_backbone(folder, compiled=True)) == answers(load_backbone(folder))
    assert counters["stats"]["unique_graphs"] <= 10


def test_without_a_compiler_the_option_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_checkpoint(tmp_path / "m3")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match=r"no C\+\+ compiler"):
        load_backbone(folder, compiled=True)
    load_backbone(folder)
