from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from m3_backbone import EngineError, Generation, GenerationRequest, load_backbone
from m3_backbone.model import M3Model, OnToken
from m3_backbone.torch_runner import TorchRunner
from m3_backbone.types import EngineUnavailable, OutOfMemory, TokenEvent
from tests.backbones import picture, write_checkpoint


@pytest.fixture
def backbone(tmp_path_factory: pytest.TempPathFactory) -> M3Model:
    return load_backbone(write_checkpoint(tmp_path_factory.mktemp("runner") / "m3"))


def requests(backbone: M3Model, n: int = 3) -> list[GenerationRequest]:
    image = backbone.encode_image(picture())
    return [GenerationRequest((f"What is {n}?",), ((image, 9),), max_new_tokens=4) for n in range(n)]


def ignore(index: int, event: TokenEvent) -> None: ...


def never(index: int) -> bool:
    return False


def limit_batches(backbone: M3Model, monkeypatch: pytest.MonkeyPatch, size: int, message: str) -> None:
    """More than ``size`` requests at once raise what torch raises."""
    real = backbone.generate_each

    def limited(
        asked: Sequence[GenerationRequest],
        on_token: OnToken | None = None,
        cancelled: Callable[[int], bool] = never,
    ) -> list[Generation | Exception]:
        if len(asked) > size:
            raise RuntimeError(message)
        return real(asked, on_token, cancelled)

    monkeypatch.setattr(backbone, "generate_each", limited)


def test_the_runner_answers_as_the_model_does(backbone: M3Model) -> None:
    runner = TorchRunner(backbone)
    asked = requests(backbone)
    expected = backbone.generate(asked)
    assert runner.generate(asked, ignore, never) == expected
    image = runner.encode(picture())
    inputs = runner.summarise(image, ("one", "two", "What is it?"))
    assert inputs.question_tokens.tolist() == backbone.tokenizer.encode("What is it?")


def test_a_batch_that_does_not_fit_is_answered_one_by_one(
    backbone: M3Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = requests(backbone)
    expected = backbone.generate(asked)
    limit_batches(backbone, monkeypatch, 1, "[enforce fail] DefaultCPUAllocator: can't allocate memory")
    events: list[int] = []
    results = TorchRunner(backbone).generate(asked, lambda index, event: events.append(index), never)
    for found, wanted in zip(results, expected, strict=True):
        assert isinstance(found, Generation)
        assert found.token_ids == wanted.token_ids
    assert sorted(set(events)) == [0, 1, 2]


def test_a_request_that_does_not_fit_alone_is_out_of_memory_and_no_more(
    backbone: M3Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = requests(backbone, 2)
    limit_batches(backbone, monkeypatch, 0, "CUDA out of memory. Tried to allocate 2 GiB")
    results = TorchRunner(backbone).generate(asked, ignore, never)
    assert [type(result) for result in results] == [OutOfMemory, OutOfMemory]
    assert type(TorchRunner(backbone).generate(asked[:1], ignore, never)[0]) is OutOfMemory


def test_a_lost_device_makes_the_engine_unavailable(
    backbone: M3Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = requests(backbone, 2)
    limit_batches(backbone, monkeypatch, 0, "CUDA error: device-side assert triggered")
    with pytest.raises(EngineUnavailable):
        TorchRunner(backbone).generate(asked, ignore, never)


def test_an_encoding_that_does_not_fit_is_out_of_memory(
    backbone: M3Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(image: object) -> None:
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(backbone, "encode_image", full)
    with pytest.raises(EngineError, match="does not fit in memory"):
        TorchRunner(backbone).encode(picture())


def test_a_runner_is_started_again_when_its_device_answers_and_not_before(
    backbone: M3Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, asked = TorchRunner(backbone), requests(backbone, 1)
    expected = runner.generate(asked, ignore, never)
    runner.revive()
    with monkeypatch.context() as broken:
        limit_batches(backbone, broken, 0, "CUDA error: device-side assert triggered")
        with pytest.raises(EngineUnavailable):
            runner.revive()
    runner.revive()
    assert runner.generate(asked, ignore, never) == expected
