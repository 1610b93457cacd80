"""What a checkpoint's config.json says, parsed once. Torch-free.

The keys are those of the official LLaVA-M3 checkpoints (``model_type`` llava_llama); defaults are what the
reference assumes where a key is absent (mu-cai/matryoshka-mm).
"""

from __future__ import annotations

import ast
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m3_backbone.scales import Ladder, ScaleError
from m3_backbone.types import CheckpointError

DIVISOR_LADDER = (1, 9, 36, 144, 576)
"""M3's scales for a 24 x 24 grid, to which a plain LLaVA is pooled without training."""

logger = logging.getLogger("m3_backbone")

MERGE_TYPES = ("flat", "spatial", "spatial_unpad")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; `CheckpointError` names the file when it is missing or not JSON."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing: a checkpoint needs it.") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {error}.") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds a {type(value).__name__}, not an object.")
    return value


@dataclass(frozen=True, slots=True)
class Conditioning:
    """How CLIP's pixels are made: ``preprocessor_config.json`` of the tower's folder."""

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @classmethod
    def parse(cls, raw: Mapping[str, Any], source: str) -> Conditioning:
        """From either spelling of sizes: ``336`` or ``{"shortest_edge": 336}``."""

        def number(value: Any, *keys: str) -> int:
            if isinstance(value, Mapping):
                value = next((value[key] for key in keys if key in value), None)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise CheckpointError(f"{source}: a size is {value!r}, not a positive number of pixels.")
            return value

        size = number(raw.get("size"), "shortest_edge", "height")
        crop = number(raw.get("crop_size", size), "height", "shortest_edge")
        if size != crop:
            raise CheckpointError(f"{source}: size {size} and crop_size {crop} differ; M3's towers use one.")
        if raw.get("resample", 3) != 3:
            raise CheckpointError(f"{source}: resample {raw['resample']!r} is not bicubic (3).")
        mean, std = raw.get("image_mean"), raw.get("image_std")
        for key, value in (("image_mean", mean), ("image_std", std)):
            if not isinstance(value, list) or len(value) != 3:
                raise CheckpointError(f"{source}: {key} is {value!r}, not three numbers.")
        assert isinstance(mean, list)
        assert isinstance(std, list)
        return cls(size, (mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))


@dataclass(frozen=True, slots=True)
class M3Config:
    """The parsed config.json of an M3 checkpoint; ``raw`` keeps every key."""

    raw: Mapping[str, Any]
    ladder: Ladder
    select_layer: int  # index into the tower's hidden states, negative from the end (-2: penultimate)
    aspect: str  # "pad", "anyres" or "square"
    pinpoints: tuple[tuple[int, int], ...]  # (width, height) in pixels, anyres only
    merge: str  # "flat", "spatial" or "spatial_unpad"
    tower: str  # mm_vision_tower as written
    tower_in_checkpoint: bool
    projector: str
    conversation: str | None

    @classmethod
    def parse(cls, raw: Mapping[str, Any], *, ladder: Ladder | None = None) -> M3Config:
        """Validates every key that changes what is computed; raises `CheckpointError` with key and value.

        ladder: for a plain LLaVA checkpoint, whose config names no scales; else `DIVISOR_LADDER`.
        """
        kind = raw.get("model_type")
        if kind not in ("llava_llama", "llava"):
            raise CheckpointError(f"config.json: model_type is {kind!r}; an M3 checkpoint has 'llava_llama'.")
        feature = raw.get("mm_vision_select_feature", "patch")
        if feature != "patch":
            raise CheckpointError(f"config.json: mm_vision_select_feature is {feature!r}; M3 uses 'patch'.")
        tower = raw.get("mm_vision_tower", raw.get("vision_tower"))
        if not isinstance(tower, str) or not tower:
            raise CheckpointError(f"config.json: mm_vision_tower is {tower!r}, not the name of a tower.")
        layer = raw.get("mm_vision_select_layer", -2)
        if isinstance(layer, bool) or not isinstance(layer, int):
            raise CheckpointError(f"config.json: mm_vision_select_layer is {layer!r}, not an integer.")
        merge = raw.get("mm_patch_merge_type", "flat")
        if merge not in MERGE_TYPES:
            raise CheckpointError(
                f"config.json: mm_patch_merge_type is {merge!r}; known are {', '.join(MERGE_TYPES)}."
            )
        for key in ("mm_use_im_start_end", "mm_use_im_patch_token"):
            if raw.get(key):
                raise CheckpointError(f"config.json: {key} is true; M3 puts no tokens around its images.")
        aspect, pinpoints = _aspect(raw)
        return cls(
            raw=raw,
            ladder=_ladder(raw, ladder),
            select_layer=layer,
            aspect=aspect,
            pinpoints=pinpoints,
            merge=merge,
            tower=tower,
            tower_in_checkpoint=bool(raw.get("unfreeze_mm_vision_tower", False)),
            projector=str(raw.get("mm_projector_type", "linear")),
            conversation=raw.get("m3_conversation"),
        )

    @property
    def names_scales(self) -> bool:
        """False for a plain LLaVA: trained at the full scale alone."""
        return self.raw.get("matryoshka_vis_token_scale") is not None

    @property
    def template(self) -> str:
        """Name of the conversation template that the model was trained with."""
        return self.conversation or "vicuna_v1"

    @property
    def context_tokens(self) -> int:
        """Positions that the language model was made for."""
        value = self.raw.get("max_position_embeddings")
        if value is None:  # Llama's own default
            return 2048
        assert isinstance(value, int)
        return value


def _ladder(raw: Mapping[str, Any], asked: Ladder | None) -> Ladder:
    scales = raw.get("matryoshka_vis_token_scale")
    if scales is None:
        ladder = asked or Ladder(DIVISOR_LADDER)
        logger.warning(
            "config.json has no matryoshka_vis_token_scale: a plain LLaVA, pooled to %s without training.",
            ",".join(map(str, ladder)),
        )
        return ladder
    if not isinstance(scales, list | str):
        raise CheckpointError(f"config.json: matryoshka_vis_token_scale is {scales!r}, not a list.")
    try:  # a string is the training script's flag, saved as it was typed
        own = Ladder.from_text(scales) if isinstance(scales, str) else Ladder.parse(scales)
    except (ScaleError, TypeError) as error:
        raise CheckpointError(f"config.json: matryoshka_vis_token_scale: {error}") from error
    if asked not in (None, own):
        raise CheckpointError(
            f"The ladder {list(asked or ())} is asked for, but config.json names the scales {list(own)} that "
            "the checkpoint was trained at. Leave the ladder out: it is for plain LLaVA checkpoints."
        )
    return own


def _aspect(raw: Mapping[str, Any]) -> tuple[str, tuple[tuple[int, int], ...]]:
    aspect = raw.get("image_aspect_ratio")
    if aspect in (None, "square"):
        return "square", ()
    if aspect == "pad":
        return "pad", ()
    if aspect != "anyres":
        raise CheckpointError(
            f"config.json: image_aspect_ratio is {aspect!r}; known are 'pad', 'anyres', 'square'."
        )
    value = raw.get("image_grid_pinpoints")
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            value = None
    try:
        points = tuple((int(width), int(height)) for width, height in value or ())
    except (TypeError, ValueError):
        points = ()
    if not points or min(min(point) for point in points) < 1:
        raise CheckpointError(
            f"config.json: image_grid_pinpoints is {raw.get('image_grid_pinpoints')!r}; "
            "anyres needs a list of [width, height]."
        )
    return "anyres", points
