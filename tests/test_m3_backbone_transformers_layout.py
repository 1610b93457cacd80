"""Checkpoints that transformers itself wrote give transformers' own logits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlavaConfig, LlavaForConditionalGeneration

from m3_backbone import CheckpointError, GenerationRequest, Ladder, load_backbone
from m3_backbone.preprocess import preprocess
from tests.backbones import CONFIG, PREPROCESSOR, TOKENIZER, TOWER_CONFIG, picture

IMAGE_TOKEN = 650
TEXT = {key: CONFIG[key] for key in ("hidden_size", "intermediate_size", "num_hidden_layers")}
TEXT |= {
    "model_type": "llama",
    "vocab_size": 700,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "initializer_range": 0.3,
}


def llava(**changes: Any) -> LlavaForConditionalGeneration:
    torch.manual_seed(0)
    values: dict[str, Any] = {
        "vision_config": dict(TOWER_CONFIG),
        "text_config": dict(TEXT),
        "image_token_index": IMAGE_TOKEN,
        "image_seq_length": 36,
        "matryoshka_vis_token_scale": [1, 9, 36],
    }
    return LlavaForConditionalGeneration(LlavaConfig(**values | changes)).eval()


def write(folder: Path, model: LlavaForConditionalGeneration, **saving: Any) -> Path:
    """What transformers saves, with a tokenizer and an image processor beside it."""
    model.save_pretrained(folder, **saving)
    shutil.copyfile(TOKENIZER, folder / "tokenizer.model")
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    return folder


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = load_file(folder / "model.safetensors")
    return tensors


def check_logits(folder: Path, model: LlavaForConditionalGeneration) -> None:
    """Ours at the full scale are transformers' with as many image tokens, and so are the greedy ids."""
    backbone = load_backbone(folder)
    image = picture()
    request = GenerationRequest(("What is it?",), ((backbone.encode_image(image), 36),), max_new_tokens=5)
    chunks = backbone.prompt(request.turns, 1).chunks
    ids = torch.tensor([[*chunks[0], *[IMAGE_TOKEN] * 36, *chunks[1]]])
    pixels = torch.from_numpy(preprocess(image, backbone.config, backbone.checkpoint.conditioning).pixels)
    with torch.inference_mode():
        expected = model(input_ids=ids, pixel_values=pixels).logits[0]
        torch.testing.assert_close(backbone.prefill_logits(request), expected, atol=1e-5, rtol=0)
        for token in backbone.generate([request])[0].token_ids:
            assert int(model(input_ids=ids, pixel_values=pixels).logits[0, -1].argmax()) == token
            ids = torch.cat((ids, torch.tensor([[token]])), dim=1)


@pytest.mark.parametrize(
    "saving",
    [
        {},
        {"save_original_format": False},
        {"max_shard_size": "40KB"},
    ],
    ids=["as before 4.52", "as in memory since 4.52", "in shards"],
)
def test_what_transformers_saves_gives_its_logits(tmp_path: Path, saving: dict[str, Any]) -> None:
    model = llava()
    folder = write(tmp_path / "m3", model, **saving)
    if "max_shard_size" in saving:
        assert len(list(folder.glob("model-*.safetensors"))) > 2
    check_logits(folder, model)


def test_old_files_with_stale_buffers_and_a_nested_tower_give_the_same_logits(tmp_path: Path) -> None:
    model = llava()
    folder = write(tmp_path / "m3", model)
    old = {
        name.replace("vision_tower.", "vision_tower.vision_model."): tensor
        for name, tensor in weights(folder).items()
    }
    old["vision_tower.vision_model.embeddings.position_ids"] = torch.arange(37)[None]
    old["language_model.model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
    (folder / "model.safetensors").unlink()
    torch.save(old, folder / "pytorch_model.bin")
    check_logits(folder, model)


def test_a_config_that_names_only_what_is_not_default_is_filled_by_llamas_defaults(tmp_path: Path) -> None:
    """As files on the hub do: text_config without what LlamaConfig has by itself."""
    model = llava(text_config=TEXT | {"max_position_embeddings": 2048, "rms_norm_eps": 1e-6})
    folder = write(tmp_path / "m3", model)
    config = json.loads((folder / "config.json").read_text())
    kept = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    edit(
        folder / "config.json",
        text_config={key: config["text_config"][key] for key in (*kept, "num_key_value_heads", "vocab_size")},
    )
    check_logits(folder, model)
    backbone = load_backbone(folder)
    assert backbone.context_tokens == 2048
    assert backbone.flops(views=1, visual_tokens=9, text_tokens=9, new_tokens=2) > 0


def test_tied_embeddings_are_tied(tmp_path: Path) -> None:
    model = llava(tie_word_embeddings=True, text_config=TEXT | {"tie_word_embeddings": True})
    folder = write(tmp_path / "m3", model)
    assert "language_model.lm_head.weight" not in weights(folder)
    check_logits(folder, model)


def test_pixels_are_cropped_or_padded_as_the_image_processor_does(tmp_path: Path) -> None:
    from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

    folder = write(tmp_path / "m3", llava())
    for pad in (False, True):
        processor = LlavaImageProcessorPil(**PREPROCESSOR, do_pad=pad)
        processor.save_pretrained(folder)
        backbone = load_backbone(folder)
        assert backbone.config.aspect == ("pad" if pad else "square")
        found = preprocess(picture(), backbone.config, backbone.checkpoint.conditioning).pixels
        expected = processor(picture(), return_tensors="pt")["pixel_values"]
        torch.testing.assert_close(torch.from_numpy(found), expected, atol=1e-5, rtol=0)
    edit(folder / "config.json", image_aspect_ratio="square")
    assert load_backbone(folder).config.aspect == "square"


def test_the_image_processor_is_found_among_all_processors(tmp_path: Path) -> None:
    folder = write(tmp_path / "m3", llava())
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(CheckpointError, match="preprocessor_config"):
        load_backbone(folder)
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": PREPROCESSOR}))
    assert load_backbone(folder).checkpoint.conditioning.size == 48


def test_a_plain_llava_is_pooled_to_the_scales_asked_for(tmp_path: Path) -> None:
    folder = write(tmp_path / "m3", llava(matryoshka_vis_token_scale=None))
    with pytest.raises(CheckpointError, match="name a ladder for this grid"):
        load_backbone(folder)
    assert load_backbone(folder, ladder=Ladder((4, 36))).ladder.scales == (4, 36)


def test_faults_of_weights_are_named_as_the_file_names_them(tmp_path: Path) -> None:
    folder = write(tmp_path / "m3", llava())
    tensors = weights(folder)
    del tensors["multi_modal_projector.linear_2.bias"]
    del tensors["vision_tower.pre_layrnorm.bias"]
    tensors["multi_modal_projector.linear_3.bias"] = torch.ones(2)
    tensors["language_model.model.norm.weight"] = torch.ones(5)
    tensors["model.language_model.embed_tokens.weight"] = tensors[
        "language_model.model.embed_tokens.weight"
    ].clone()
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError) as caught:
        load_backbone(folder)
    message = str(caught.value)
    assert "2 missing: vision_tower.vision_model.pre_layrnorm.bias" in message
    assert "multi_modal_projector.linear_2.bias" in message
    assert "1 surplus: multi_modal_projector.linear_3.bias" in message
    assert "1 misshapen: language_model.model.norm.weight [5] instead of [64]" in message
    assert "1 stored twice: model.language_model.embed_tokens.weight" in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "llava_next"}, "model_type is 'llava_next'"),
        ({"projector_hidden_act": "relu"}, "projector_hidden_act is 'relu'"),
        ({"multimodal_projector_bias": False}, "multimodal_projector_bias is False"),
        ({"vision_feature_select_strategy": "full"}, "vision_feature_select_strategy is 'full'"),
        ({"vision_feature_layer": [-2, -5]}, r"mm_vision_select_layer is \[-2, -5\]"),
        ({"text_config": {"model_type": "qwen2"}}, "text_config.model_type is 'qwen2'"),
        ({"text_config": None}, "text_config is None"),
        ({"vision_config": {"model_type": "siglip_vision_model"}}, "not a CLIP vision config"),
    ],
)
def test_a_key_that_m3_does_not_have_is_refused_by_name_and_value(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    folder = write(tmp_path / "m3", llava())
    edit(folder / "config.json", **change)
    with pytest.raises(CheckpointError, match=message):
        load_backbone(folder)


def test_a_processor_that_leaves_a_step_out_and_a_tower_from_elsewhere_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "m3", llava())
    with pytest.raises(CheckpointError, match="has its tower inside"):
        load_backbone(folder, vision_tower=tmp_path)
    edit(folder / "preprocessor_config.json", do_normalize=False)
    with pytest.raises(CheckpointError, match="do_normalize is false"):
        load_backbone(folder)
