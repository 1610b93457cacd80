"""The torch backbone behind the queue passes what every engine must pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from m3_backbone import load_backbone, torch_engine
from m3_backbone.engine import QueueEngine
from m3_backbone.model import M3Model
from tests.backbones import write_checkpoint
from tests.engine_conformance import EngineConformance, Make


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> M3Model:
    return load_backbone(write_checkpoint(tmp_path_factory.mktemp("engine") / "m3"))


class TestTorchEngine(EngineConformance):
    @pytest.fixture
    def make(self, backbone: M3Model) -> Make:
        def make(**settings: Any) -> QueueEngine:
            return torch_engine(backbone, **settings)

        return make


def test_the_context_is_the_models(backbone: M3Model, tmp_path: Path) -> None:
    assert torch_engine(backbone).capacity.context_tokens == backbone.context_tokens


def test_the_engine_says_how_pictures_become_square(backbone: M3Model) -> None:
    assert torch_engine(backbone).aspect == backbone.config.aspect == "pad"
