"""transformers' LLaVA layout (``LlavaForConditionalGeneration``, ``model_type`` llava) -> `Source`.

One folder holds everything: ``text_config`` and ``vision_config`` in config.json, the tower's weights beside
the language model's. Names of weights differ between versions: before 4.52 (and in what later ones save by
default) ``language_model.model.layers...``, in memory since then ``model.language_model.layers...``; the
tower's have ``vision_model.`` in them before version 5. All are read.

Not covered: LLaVA-NeXT in this layout (``llava_next``), other language models than Llama.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from m3_backbone.config import Conditioning, M3Config, read_json
from m3_backbone.scales import Ladder
from m3_backbone.source import TOWER, Source, is_stale
from m3_backbone.types import CheckpointError
from m3_backbone.weights import weight_files

_EXTRA = ("matryoshka_vis_token_scale", "m3_conversation", "tokenizer_model_max_length")
"""Keys of ours that transformers keeps at the top of config.json as they are."""

_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), official)
    for pattern, official in (
        (r"(?:model\.)?multi_modal_projector\.linear_1\.", "model.mm_projector.0."),
        (r"(?:model\.)?multi_modal_projector\.linear_2\.", "model.mm_projector.2."),
        (r"(?:model\.)?vision_tower\.(?:vision_model\.)?", TOWER + "vision_model."),
        (r"language_model\.lm_head\.", "lm_head."),
        (r"language_model\.model\.", "model."),
        (r"(?:model\.)?language_model\.", "model."),
    )
)
_SPELLINGS = (
    (TOWER + "vision_model.", "vision_tower.vision_model."),
    ("model.mm_projector.0.", "multi_modal_projector.linear_1."),
    ("model.mm_projector.2.", "multi_modal_projector.linear_2."),
    ("model.", "language_model.model."),
    ("lm_head.", "language_model.lm_head."),
)


def is_transformers_config(raw: Mapping[str, Any]) -> bool:
    """Whether a config.json is transformers' own and not the official LLaVA-M3 one."""
    return "text_config" in raw or "vision_config" in raw


def transformers_source(
    folder: Path, raw: Mapping[str, Any], *, vision_tower: str | Path | None, ladder: Ladder | None
) -> Source:
    """``raw``: the folder's config.json. Raises `CheckpointError` for keys or files that do not fit.

    Pixels are padded to a square where ``image_aspect_ratio`` of config.json says "pad" or, without that
    key, the image processor's ``do_pad`` is true; else they are cropped, as transformers does it.
    """
    if vision_tower is not None:
        raise CheckpointError(
            f"vision_tower is {vision_tower}, but a checkpoint in transformers' layout has its tower inside."
        )
    values = official_config(raw)
    processor, file = _image_processor(folder)
    values.setdefault("image_aspect_ratio", "pad" if processor.get("do_pad") else "square")
    files = weight_files(folder)
    roles = [(f"checkpoint/{path.name}", path) for path in files]
    for name in ("config.json", "tokenizer.model", "tokenizer_config.json", file):
        if (folder / name).is_file():
            roles.append((f"checkpoint/{name}", folder / name))
    return Source(
        config=M3Config.parse(values, ladder=ladder),
        tower_config=_part(raw, "vision_config"),
        conditioning=Conditioning.parse(processor, file),
        weights=tuple((path, _official_name) for path in files),
        roles=tuple(roles),
        spell=_spell,
    )


def official_config(raw: Mapping[str, Any]) -> dict[str, Any]:
    """transformers' config.json in the official keys; raises `CheckpointError` for what M3 does not have."""
    wanted = {
        "model_type": "llava",
        "projector_hidden_act": "gelu",
        "multimodal_projector_bias": True,
        "vision_feature_select_strategy": "default",
    }
    for key, value in wanted.items():
        if raw.get(key, value) != value:
            raise CheckpointError(
                f"config.json: {key} is {raw[key]!r}; an M3 model in transformers' layout has {value!r}."
            )
    text = _part(raw, "text_config")
    if text.get("model_type", "llama") != "llama":
        raise CheckpointError(
            f"config.json: text_config.model_type is {text['model_type']!r}; M3's language model is 'llama'."
        )
    values = {key: value for key, value in text.items() if key != "model_type"}
    values |= {key: raw[key] for key in (*_EXTRA, "image_aspect_ratio") if key in raw}
    return values | {
        "model_type": "llava_llama",
        "tie_word_embeddings": bool(raw.get("tie_word_embeddings") or text.get("tie_word_embeddings")),
        "mm_projector_type": "mlp2x_gelu",
        "mm_vision_select_layer": raw.get("vision_feature_layer", -2),
        "mm_vision_tower": ".",
        "unfreeze_mm_vision_tower": True,
    }


def _part(raw: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = raw.get(key)
    if not isinstance(value, Mapping):
        raise CheckpointError(f"config.json: {key} is {value!r}, not an object.")
    return value


def _image_processor(folder: Path) -> tuple[Mapping[str, Any], str]:
    """The image processor's settings, and their file: newer versions keep all processors in one."""
    for file in ("preprocessor_config.json", "processor_config.json"):
        values = read_json(folder / file) if (folder / file).is_file() else {}
        values = values.get("image_processor", values if file.startswith("pre") else {})
        if not values:
            continue
        skipped = [key for key in ("do_resize", "do_rescale", "do_normalize") if values.get(key) is False]
        if skipped:
            raise CheckpointError(f"{file}: {', '.join(skipped)} is false; M3's pixels need it.")
        return values, file
    raise CheckpointError(
        f"{folder} names no image processor: preprocessor_config.json is missing, and no "
        "processor_config.json has one."
    )


def _official_name(name: str) -> str | None:
    if is_stale(name):
        return None
    for pattern, official in _RULES:
        if (match := pattern.match(name)) is not None:
            return official + name[match.end() :]
    return name


def _spell(official: str) -> str:
    for prefix, spelling in _SPELLINGS:
        if official.startswith(prefix):
            return spelling + official.removeprefix(prefix)
    return official
