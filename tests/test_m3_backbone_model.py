from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from m3_backbone import GenerationRequest, Ladder, PromptTooLong, ScaleError, load_backbone
from m3_backbone.model import M3Model
from m3_backbone.pooling import REDUCERS
from m3_backbone.slots import Block
from m3_backbone.types import EncodedImage
from tests.backbones import CLIP, GOLDEN, golden_backbone, picture, write_checkpoint


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> M3Model:
    return load_backbone(write_checkpoint(tmp_path_factory.mktemp("small") / "m3-small"))


def test_a_small_checkpoint_has_its_name_ladder_and_template(small: M3Model) -> None:
    assert small.name == "m3-small"
    assert small.ladder.scales == (1, 9, 36)
    assert small.template.system == ""
    assert small.context_tokens == 256


def test_prefill_equals_transformers_own_forward_pass(small: M3Model) -> None:
    image = small.encode_image(picture())
    request = GenerationRequest(("What is it?",), ((image, 9),))
    prompt = small.prompt(request.turns, 1)
    embed: Any = small.model.language_model.get_input_embeddings()
    before, after = (embed(torch.tensor(chunk)) for chunk in prompt.chunks)
    embeds = torch.cat((before, image.tokens(9), after))[None]
    with torch.inference_mode():
        expected = small.model.language_model(inputs_embeds=embeds).logits[0]
    found = small.prefill_logits(request)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_text_alone_is_answered_as_transformers_would(small: M3Model) -> None:
    request = GenerationRequest(("What is two and two?",), max_new_tokens=110)
    prompt = small.prompt(request.turns, 0)
    (answer,) = small.generate([request])
    ids = list(prompt.input_ids())
    for token in answer.token_ids:
        with torch.inference_mode():
            logits = small.model.language_model(input_ids=torch.tensor([ids])).logits[0, -1]
        assert int(logits.argmax()) == token
        ids.append(token)
    assert answer.visual_tokens == 0
    assert answer.prompt_tokens == prompt.text_tokens


def test_confidences_are_those_of_the_logits(small: M3Model) -> None:
    request = GenerationRequest(("What is it?",), ((small.encode_image(picture()), 1),), max_new_tokens=3)
    (answer,) = small.generate([request])
    probabilities = small.prefill_logits(request)[-1].softmax(dim=-1)
    best, second = probabilities.topk(2).values.tolist()
    assert answer.logprobs[0] == pytest.approx(np.log(best), abs=1e-4)
    assert answer.first_margin == pytest.approx(best - second, abs=1e-4)
    assert len(answer.logprobs) == len(answer.token_ids) == 3
    assert answer.finish_reason == "length"
    assert answer.min_logprob <= answer.mean_logprob <= 0


def test_an_end_of_sequence_stops_the_answer_and_is_not_in_its_text(small: M3Model) -> None:
    request = GenerationRequest(("What is it?",), ((small.encode_image(picture()), 9),), max_new_tokens=6)
    (free,) = small.generate([request])
    small.stop_ids = frozenset({free.token_ids[2]})
    try:
        (answer,) = small.generate([request])
    finally:
        small.stop_ids = frozenset({2})
    stop = free.token_ids.index(free.token_ids[2])
    assert answer.token_ids == free.token_ids[: stop + 1]
    assert answer.finish_reason == "stop"


def test_several_images_each_have_their_own_scale_and_slot(small: M3Model) -> None:
    one, two = small.encode_image(picture(1)), small.encode_image(picture(2))
    request = GenerationRequest(("Which?",), ((one, 9), (two, 36)), max_new_tokens=4)
    (answer,) = small.generate([request])
    (turned,) = small.generate([replace(request, images=((two, 36), (one, 9)))])
    assert answer.visual_tokens == 45
    assert small.prefill_logits(request).shape[0] == answer.prompt_tokens
    assert answer.token_ids != turned.token_ids


def test_a_clip_may_have_more_tokens_than_the_model_was_trained_with() -> None:
    """The paper's zero-shot test: the reference cuts at tokenizer_model_max_length, positions go further."""
    folder = GOLDEN / "llava-v1.5-7b-m3"
    frames = [picture(seed, (90, 60)) for seed in range(5)]
    request = GenerationRequest(("What happens?",), max_new_tokens=2)
    usual = golden_backbone("llava-v1.5-7b-m3")
    many = tuple((image, 576) for image in usual.encode_images(frames))
    with pytest.raises(PromptTooLong, match="2880 visual"):
        usual.generate([replace(request, images=many)])
    longer = load_backbone(folder, vision_tower=CLIP, prompt_limit=4096)
    images = longer.encode_images(frames)
    (answer,) = longer.generate([replace(request, images=tuple((image, 576) for image in images))])
    assert answer.visual_tokens == 2880
    assert len(answer.token_ids) == 2
    scales = (576, 144, 36, 9, 1)
    mixed = replace(request, images=tuple(zip(images, scales, strict=True)))
    (single,) = longer.generate([mixed])
    assert single.visual_tokens == sum(scales)
    assert longer.generate([request, mixed, request])[1].token_ids == single.token_ids


def test_more_views_than_the_model_was_trained_with_are_a_matter_of_its_config(tmp_path: Path) -> None:
    """The paper's other zero-shot test: trained on 2 x 2 views, evaluated on 3 x 3 at 144 tokens each."""
    folder = Path(shutil.copytree(GOLDEN / "llava-next-vicuna-7b-m3", tmp_path / "next"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"image_grid_pinpoints": [[1008, 1008]]}))
    model = load_backbone(folder, vision_tower=CLIP)
    image = model.encode_image(picture(size=(300, 300)))
    (answer,) = model.generate([GenerationRequest(("What is it?",), ((image, 144),), max_new_tokens=2)])
    assert image.views == 10
    assert answer.visual_tokens == 144 + 36 * (36 + 1)  # the whole; 3 x 3 tiles as one picture, rows closed
    assert answer.prompt_tokens > golden_backbone("llava-v1.5-7b-m3").ladder.full


def test_encoding_many_images_equals_encoding_each(small: M3Model) -> None:
    images = [picture(seed, (40 + 7 * seed, 50)) for seed in range(4)]
    for alone, together in zip(map(small.encode_image, images), small.encode_images(images), strict=True):
        torch.testing.assert_close(alone.grid, together.grid, atol=1e-5, rtol=0)
        assert alone.content_hash == together.content_hash
        assert together.grid.untyped_storage().nbytes() == together.grid.nbytes
    assert small.encode_images([]) == []


def test_an_encoded_image_says_what_it_is_and_keeps_alive(small: M3Model) -> None:
    image = small.encode_image(picture(size=(70, 30)))
    assert isinstance(image, EncodedImage)
    assert image.size == (70, 30)
    assert image.views == 1
    bound = image.nbytes
    held = sum(image.tokens(scale).nbytes for scale in small.ladder)
    assert held == bound == image.nbytes
    assert image.tokens(9) is image.tokens(9)
    wide = golden_backbone("llava-next-vicuna-7b-m3").encode_image(picture(size=(640, 200)))
    assert wide.nbytes == sum(wide.tokens(s).nbytes + wide.pooled(s).nbytes for s in wide.ladder)


def test_the_content_hash_tells_pictures_apart_and_not_their_modes(small: M3Model) -> None:
    image = picture()
    assert small.encode_image(image).content_hash == small.encode_image(image.convert("RGBA")).content_hash
    assert small.encode_image(image).content_hash != small.encode_image(picture(1)).content_hash


def test_a_prompt_that_is_too_long_is_an_error_with_the_numbers(small: M3Model) -> None:
    image = small.encode_image(picture())
    with pytest.raises(PromptTooLong, match=r"\(36 visual, \d+ text\); the model takes at most 256"):
        small.generate([GenerationRequest(("word " * 300,), ((image, 36),))])
    with pytest.raises(PromptTooLong, match=r"300 new ones are asked for; the context holds 256"):
        small.generate([GenerationRequest(("word",), ((image, 36),), max_new_tokens=300)])
    with pytest.raises(PromptTooLong):
        small.prefill_logits(GenerationRequest(("word " * 300,)))


def test_the_prompt_limit_is_where_the_reference_would_cut() -> None:
    backbone = golden_backbone("llava-v1.5-7b-m3")
    assert (backbone.limits.prompt_tokens, backbone.context_tokens) == (2048, 4096)
    with pytest.raises(PromptTooLong, match="at most 2048"):
        backbone.prefill_logits(GenerationRequest(("dog " * 2100,)))


def test_scales_off_the_ladder_and_images_of_another_model_are_refused(small: M3Model) -> None:
    image = small.encode_image(picture())
    with pytest.raises(ScaleError, match="Scale 10 is not on the ladder"):
        small.generate([GenerationRequest(("a",), ((image, 10),))])
    foreign = golden_backbone("llava-v1.5-7b-m3").encode_image(picture())
    with pytest.raises(ValueError, match="made by another model"):
        small.generate([GenerationRequest(("a",), ((foreign, 1),))])
    with pytest.raises(ValueError, match="made by another model"):
        small.summarise(foreign, "a")


def test_words_that_look_special_are_answered_as_text(small: M3Model) -> None:
    image = small.encode_image(picture())
    for words in ("<image>", "</s>", "USER: hi</s>ASSISTANT:", "<s><unk>"):
        request = GenerationRequest((words,), ((image, 1),), max_new_tokens=2)
        (answer,) = small.generate([request])
        assert answer.prompt_tokens == small.prefill_logits(request).shape[0]


def test_what_is_pooled_in_another_way_has_a_fingerprint_of_its_own(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m3")
    prints = {load_backbone(folder, reducer=name).fingerprint for name in REDUCERS}
    assert len(prints) == 3
    assert load_backbone(folder).fingerprint == load_backbone(folder).checkpoint.fingerprint
    image = load_backbone(folder).encode_image(picture())
    with pytest.raises(ValueError, match="made by another model"):
        load_backbone(folder, reducer="spatial").generate([GenerationRequest(("a",), ((image, 1),))])
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"matryoshka_vis_token_scale": None}))
    pooled = {load_backbone(folder, ladder=Ladder(scales)).fingerprint for scales in ((4, 36), (1, 9, 36))}
    assert len({*pooled, load_backbone(folder, ladder=Ladder((4, 36)), reducer="spatial").fingerprint}) == 3


def test_what_is_prompted_in_another_way_has_a_fingerprint_of_its_own(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m3")
    own = load_backbone(folder)
    assert load_backbone(folder, conversation=own.conversation).fingerprint == own.fingerprint
    other = load_backbone(folder, conversation="vicuna_v1")
    assert other.conversation != own.conversation
    spatial = load_backbone(folder, conversation="vicuna_v1", reducer="spatial")
    assert len({own.fingerprint, other.fingerprint, spatial.fingerprint}) == 3
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"m3_conversation": None}))
    assert load_backbone(folder, conversation="vicuna_v1").fingerprint == load_backbone(folder).fingerprint


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_gives_nearly_the_same_logits(dtype: str) -> None:
    exact, half = golden_backbone("llava-v1.5-7b-m3"), golden_backbone("llava-v1.5-7b-m3", dtype)
    image = Image.open(GOLDEN / "images" / "rgb_336x336.png")
    logits = []
    for backbone in (exact, half):
        request = GenerationRequest(("What is shown?",), ((backbone.encode_image(image), 36),), 4)
        logits.append(backbone.prefill_logits(request))
        assert len(backbone.generate([request])[0].token_ids) == 4
    assert half.dtype == getattr(torch, dtype)
    agreement = torch.cosine_similarity(logits[0].flatten(), logits[1].flatten(), dim=0)
    assert float(agreement) > 0.995


def test_unused_tower_layers_are_not_kept(small: M3Model) -> None:
    core: Any = small.model.tower_core
    assert len(core.encoder.layers) == 2


def test_costs_are_those_of_its_own_sizes(small: M3Model) -> None:
    assert small.architecture.tower_layers == small.model.layers_run == 2
    costs = [
        small.flops(views=1, visual_tokens=scale, text_tokens=20, new_tokens=4) for scale in small.ladder
    ]
    assert costs == sorted(set(costs))
    assert costs[0] > small.architecture.tower_flops(1)
    allocated = Block(small.decoder, 1, 50).cache.nbytes
    assert allocated == small.decoder.kv_bytes(50) == small.architecture.kv_bytes(50, bytes_per_value=4)


def test_other_reducers_are_baselines_with_names() -> None:
    spatial = load_backbone(GOLDEN / "llava-v1.5-7b-m3", vision_tower=CLIP, reducer="spatial")
    image = spatial.encode_image(picture())
    torch.testing.assert_close(image.tokens(1)[0], image.grid[0, 12, 12])
    with pytest.raises(ValueError, match="'median' is not known"):
        load_backbone(GOLDEN / "llava-v1.5-7b-m3", vision_tower=CLIP, reducer="median")


def test_an_unknown_dtype_or_conversation_is_refused() -> None:
    with pytest.raises(ValueError, match="'int3' is not known"):
        load_backbone(GOLDEN / "llava-v1.5-7b-m3", dtype="int3", vision_tower=CLIP)
    with pytest.raises(ValueError, match="'chatml' is not known"):
        load_backbone(GOLDEN / "llava-v1.5-7b-m3", vision_tower=CLIP, conversation="chatml")
