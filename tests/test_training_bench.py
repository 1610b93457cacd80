"""The bench compares answers before times. Nothing here asserts seconds."""

from __future__ import annotations

import asyncio
import json
import mmap
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from m3_backbone import torch_engine
from m3_backbone.machine import keep_freed_memory
from tests.backbones import (
    CLIP,
    CONFIG,
    GOLDEN,
    PREPROCESSOR,
    TOKENIZER,
    TOWER_CONFIG,
    golden_cases,
    picture,
    write_checkpoint,
)
from training.bench import cold, labelling, models, ours, report, results, waiting
from training.bench.equality import BenchError, check_same
from training.bench.memory import peak
from training.bench.models import Sides
from training.bench.padding import CountingDecoder, Padding
from training.bench.reference import Ask
from training.bench.timing import Clock, Turns
from training.bench.workload import Workload

SCALES = (1, 9, 36)


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Sides:
    folder = write_checkpoint(tmp_path_factory.mktemp("bench") / "m3")
    return models.load(folder, dtype="float32", device="cpu")


@pytest.fixture(scope="module")
def work() -> Workload:
    return Workload.draw(8, cold=2, waiting=4)


CLOCK = Clock(torch.device("cpu"))


@pytest.mark.parametrize("case", golden_cases(), ids=lambda case: str(case["id"]))
def test_the_references_way_says_what_the_reference_said(case: dict[str, Any]) -> None:
    if len(case["turns"]) > 1:
        pytest.skip("the bench asks single questions")
    golden = models.load(GOLDEN / case["checkpoint"], dtype="float32", device="cpu", vision_tower=CLIP)
    with Image.open(GOLDEN / case["image"]) as image:
        opened = image.convert("RGB")
    for scale, expected in case["per_scale"].items():
        ask = Ask(opened, case["turns"][0], int(scale))
        assert list(golden.reference.answer(ask)) == expected["greedy_ids"]


def test_both_ways_say_the_same_at_every_scale_and_length(sides: Sides) -> None:
    for endless in (False, True):
        asks = [
            Ask(picture(n), "What is the colour?", scale, 5 + n, endless) for n, scale in enumerate(SCALES)
        ]
        theirs = [sides.reference.answer(ask) for ask in asks]
        with ours.without_end(sides.backbone, endless):
            assert [ours.answer(sides.backbone, ask) for ask in asks] == theirs
            assert ours.answer_together(sides.backbone, asks) == theirs
        if endless:
            assert [len(ids) for ids in theirs] == [5, 6, 7]


def test_the_reference_runs_the_whole_tower_and_ours_does_not(sides: Sides) -> None:
    layers: Any = sides.backbone.model.tower_core.encoder
    assert len(layers.layers) == 2
    tower: Any = sides.reference._tower
    assert len(getattr(tower, "vision_model", tower).encoder.layers) == 3
    grid, _ = sides.reference.encode(picture())
    torch.testing.assert_close(grid, sides.backbone.encode_image(picture()).grid)


def test_answers_end_again_after_an_endless_measurement(sides: Sides) -> None:
    with ours.without_end(sides.backbone):
        assert sides.backbone.stop_ids == frozenset()
    assert sides.backbone.stop_ids == frozenset({2})


def test_the_engine_gives_the_answers_of_waiting_requests_in_order(sides: Sides) -> None:
    asks = [Ask(picture(n), "Where is it?", SCALES[n % 3], 3) for n in range(5)]

    async def run() -> list[tuple[int, ...]]:
        engine = torch_engine(sides.backbone, batch_size=5, image_cache_bytes=0)
        await engine.start()
        try:
            return await ours.answer_waiting(engine, asks)
        finally:
            await engine.close()

    assert asyncio.run(run()) == [sides.reference.answer(ask) for ask in asks]


def test_a_different_answer_is_an_error_that_names_it(sides: Sides) -> None:
    ask = Ask(picture(), "What is it?", 9, 4, endless=True)
    ids = sides.reference.answer(ask)
    other = (*ids[:2], (ids[2] + 1) % 640, ids[3])
    with pytest.raises(BenchError, match=r"from token 2 on.*'What is it\?' at scale 9"):
        check_same(sides.reference, [ask], [other], [ids], torch.float32)
    with pytest.raises(BenchError, match="end at different places"):
        check_same(sides.reference, [ask], [ids[:3]], [ids], torch.float32)
    with pytest.raises(BenchError, match="1 requests, 0 answers"):
        check_same(sides.reference, [ask], [], [ids], torch.float32)
    assert check_same(sides.reference, [ask], [ids], [ids], torch.float32) == 0


def test_half_precision_forgives_a_tie_and_nothing_else(sides: Sides) -> None:
    ask = Ask(picture(), "What is it?", 9, 1, endless=True)
    ids = sides.reference.answer(ask)
    order = sides.reference.next_logits(ask, ()).argsort(descending=True).tolist()
    assert order[0] == ids[0]
    with pytest.raises(BenchError, match="differ from token 0"):
        check_same(sides.reference, [ask], [(order[-1],)], [ids], torch.bfloat16)
    flat = sides.reference._language_model.lm_head.weight
    kept = flat.clone()
    flat[order[1]] = flat[order[0]]
    try:
        assert check_same(sides.reference, [ask], [(order[1],)], [ids], torch.bfloat16) == 1
        with pytest.raises(BenchError, match="apart"):
            check_same(sides.reference, [ask], [(order[1],)], [ids], torch.float32)
    finally:
        flat.copy_(kept)


def test_ratios_are_those_of_medians_with_the_quartiles_of_neighbours() -> None:
    turns = Turns(CLOCK, ours=[1.0, 2.0, 9.0], reference=[4.0, 6.0, 6.0])
    assert turns.ratio == 3.0
    low, high = turns.spread
    assert low == pytest.approx((6 / 9 + 3) / 2)
    assert high == pytest.approx(3.5)
    assert turns.row()["turns"] == 3


def test_turns_alternate() -> None:
    said: list[str] = []
    turns = Turns(CLOCK)
    for _ in range(2):
        turns.take(lambda: said.append("ours"), lambda: said.append("reference"))
    assert said == ["ours", "reference"] * 2
    assert len(turns.ours) == len(turns.reference) == 2


def test_padding_is_counted_where_rows_of_a_group_differ(sides: Sides) -> None:
    backbone, padding = sides.backbone, Padding()
    assert padding.waste == 0
    alone = Ask(picture(), "What is it?", 36, 3, endless=True)
    before = backbone.decoder
    backbone.decoder = CountingDecoder(before, padding)
    try:
        with ours.without_end(backbone):
            ours.answer(backbone, alone)
            assert padding.waste == 0
            text = backbone.prompt((alone.question,), 1).text_tokens
            assert padding.computed == 36 + text + 2  # the third new token is never fed back
            ours.answer_together(
                backbone, [alone, Ask(picture(1), "Is it a long one or a short one?", 36, 9)]
            )
    finally:
        backbone.decoder = before
    assert 0 < padding.waste < 1


def _fill_64_mib() -> int:
    """Fresh pages from the system: an allocator may hand out some that the process holds already."""
    with mmap.mmap(-1, 64 << 20) as pages:
        return pages.write(bytes(64 << 20))


def test_peak_memory_sees_what_a_call_held() -> None:
    held, size = peak(_fill_64_mib, CLOCK.device)
    less, _ = peak(lambda: None, CLOCK.device)
    assert size == 64 << 20
    if held is not None and less is not None:  # a system without the counter
        assert held - less > 32 << 20


def test_peak_memory_has_nothing_of_what_was_freed_before() -> None:
    keep_freed_memory()
    with_block, _ = peak(lambda: len(bytearray(256 << 20)), CLOCK.device)
    without, _ = peak(lambda: None, CLOCK.device)
    if with_block is not None and without is not None:
        assert with_block - without > 200 << 20


def test_the_workload_is_drawn_once_and_asks_about_different_pictures(work: Workload) -> None:
    assert len(work.samples) == 16
    assert [sample.sample_id for sample in work.to_label()] == [s.sample_id for s in work.samples[:8]]
    assert [sample.sample_id for sample in work.to_draw()] == [s.sample_id for s in work.samples[:8]]
    assert work.samples[0].open_image() is work.samples[3].open_image()
    asks = work.waiting_asks(SCALES, 16, endless=False)
    assert [ask.scale for ask in asks] == [1, 9, 36, 1]
    assert len({ask.picture.tobytes() for ask in asks}) == 4
    assert all(ask.endless for ask in work.cold_asks(9, 16))


def test_random_weights_need_no_checkpoint() -> None:
    made = models.random(
        (CONFIG | {"m3_conversation": "m3_tiny"}, TOWER_CONFIG),
        dtype="bfloat16",
        device="cpu",
        tokenizer=TOKENIZER.parent,
        preprocessor=PREPROCESSOR,
    )
    assert made.backbone.dtype == torch.bfloat16
    assert torch.get_default_dtype() == torch.float32
    ask = Ask(picture(), "What?", 9, 4, endless=True)
    with ours.without_end(made.backbone):
        mine = ours.answer(made.backbone, ask)
    assert check_same(made.reference, [ask], [mine], [made.reference.answer(ask)], torch.bfloat16) in (0, 1)


def test_what_is_not_known_is_named() -> None:
    with pytest.raises(BenchError, match=r"'gpt-2' is not known\. Known: llava-7b"):
        models.random("gpt-2", dtype="float32", device="cpu")
    with pytest.raises(BenchError, match=r"'int8' is not known\. Known: float32"):
        models.load("tiny", dtype="int8", device="cpu")


def test_every_measurement_is_in_the_tables_and_in_json(sides: Sides, work: Workload, tmp_path: Path) -> None:
    said: list[str] = []
    measured = results.measure(
        sides, work, command="m3-train bench-backbone", dtype="float32", repeats=1, on_progress=said.append
    )
    assert len(said) == 3
    row = json.loads(json.dumps(measured.json()))
    assert list(row["cold"]["scales"]) == ["1", "9", "36"]
    for of in (*row["cold"]["scales"].values(), row["labelling"], row["waiting"][0]["engine"]):
        assert of["ratio"] > 0
        assert of["ratio_quartiles"][0] <= of["ratio_quartiles"][1]
    full = row["cold"]["scales"]["36"]
    assert (full["cost_predicted"], full["cost_ours"], full["visual_tokens"]) == (1, 1, 36)
    assert row["cold"]["scales"]["1"]["cost_predicted"] < 1
    assert row["waiting"][0]["new_tokens"] == 4 * waiting.NEW_TOKENS
    assert row["waiting"][1]["new_tokens"] <= 4 * waiting.NEW_TOKENS
    assert 0 <= row["waiting"][0]["padding_waste"] < 1
    assert row["waiting"][0]["limit"] > 0
    assert row["waiting"][0]["flops"] >= row["waiting"][1]["flops"] > 0
    assert row["matmul_flops_per_s"] > 0
    assert row["labelling"]["pairs"] == 8
    assert row["labelling"]["pictures"] == 2
    assert 0 < row["labelling"]["share_in_model"] <= 1
    assert row["provenance"]["backbone_fingerprint"] == sides.backbone.fingerprint
    text, data = report.write(measured, tmp_path / "out")
    page = text.read_text(encoding="utf-8")
    for words in (
        "(a) One cold request",
        "(b) Labelling",
        "(c) 4 waiting",
        sides.backbone.fingerprint,
        "| 36 |",
    ):
        assert words in page
    assert json.loads(data.read_text(encoding="utf-8")) == row


def test_an_answer_that_changes_while_the_clock_runs_stops_the_labelling(
    sides: Sides, work: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = sides.reference.answer
    calls = 0

    def answer(ask: Ask) -> tuple[int, ...]:
        nonlocal calls
        calls += 1
        ids = answered(ask)
        return ids if calls <= 30 else ((ids[0] + 1) % 640, *ids[1:])

    monkeypatch.setattr(sides.reference, "answer", answer)
    with pytest.raises(BenchError, match="not compared"):
        labelling.measure(sides, work, CLOCK, "float32", 1)


def test_a_cold_request_is_measured_at_every_scale_and_picture(sides: Sides, work: Workload) -> None:
    measured = cold.measure(sides, work, CLOCK, repeats=2)
    assert {scale: len(turns.ours) for scale, turns in measured.turns.items()} == dict.fromkeys(SCALES, 4)
    assert len(measured.encoding.ours) == 4
    assert measured.visual_tokens == {1: 1, 9: 9, 36: 36}
    assert measured.flops[1] < measured.flops[36]
