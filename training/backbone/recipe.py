"""The recipe of m3-tiny: sizes, budgets in minutes, and the official config files that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from m3_backbone.config import Conditioning

SCALES = (1, 9, 36, 144, 576)
"""The ladder that m3-tiny is trained on; everyone else reads it from the checkpoint's config.json."""
GRID = 24
PATCH = 14
SIZE = GRID * PATCH

PREPROCESSOR: dict[str, Any] = {
    "crop_size": SIZE,
    "do_center_crop": True,
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "CLIPFeatureExtractor",
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
    "size": SIZE,
}
"""CLIP's own preprocessor_config.json."""


@dataclass(frozen=True)
class Recipe:
    """Budgets are minutes of training: schedules follow consumed time, so that a run ends on time on a busy
    machine, and what a slower machine loses is steps. Heads are few and wide (64) because on a CPU the
    softmax of attention is the bottleneck, and its cost grows with the number of heads.

    Made for ten families in two hours of two cores without bfloat16, begun with the weights of the first
    edition (``start``). Why what is as it is:

    - 5.6 M parameters: runs end with too little training, not too few weights (held-out loss is as low).
    - 16,000 pictures, each seen about three times with other questions and facts: drawing them and making
      their features takes 17 minutes; 12,000 seen four times with questions alone were learned by heart.
    - Text is most of a sequence, so 144 tokens cost a step only a third more than 36, and show what the
      small letters of dense pictures say: phase 1 learns mainly there. Scale 576 doubles a step: its share is
      small until phase 2. Every scale is in both, so that none that the start can answer is forgotten.
    - Rows are filled with facts up to ``block_tokens``: they are padded to the longest anyway.
    """

    start: str = ""  # a checkpoint whose weights the run begins with; "": from nothing
    rate_share: float = 1.0  # of both peak rates below: a run begun with weights forgets less at a lower one

    images: int = 16_000
    first_image: int = 0  # number of the first: a run begun with weights can learn from unseen pictures
    val_images: int = 240
    workers: int = 2
    vocabulary: int = 1_200  # every word and number of the pictures is one piece
    split_digits: bool = False  # numbers below 100 become one token, as the tower labels them

    tower_width: int = 192
    tower_layers: int = 6  # the last one is never trained nor run: M3 reads the penultimate layer
    tower_heads: int = 3
    hidden: int = 192
    layers: int = 5
    heads: int = 3
    intermediate: int = 512
    context: int = 1024

    minutes_tower: float = 28.0
    minutes_phase1: float = 32.0  # mainly scales 36 and 144: short sequences, many steps
    minutes_phase2: float = 40.0  # all five scales, 576 most: that is where the smallest letters are read

    crop: int = 8  # side of a crop, in patches
    crops: int = 64
    text_share: float = 0.75  # of the crops are drawn around a patch with a word in it
    whole: int = 10  # whole pictures a step, once they are used
    whole_from: float = 0.7  # of the tower's time
    none_weight: float = 0.15  # of patches that hold nothing
    heads_alone: float = 0.05  # of the tower's time its heads learn alone, where it starts from a checkpoint
    tower_rate: float = 1.5e-3

    rate: float = 1.5e-3
    muon_factor: float = 2.5  # times the rate, for hidden matrices of the tower, projector and language model
    final_rate: float = 0.05  # of the peak
    warm_up: float = 0.02  # of the time
    weight_decay: float = 0.05
    clip: float = 1.0
    questions: int = 8
    look_ups: int = 16
    descriptions: int = 1
    description_start: float = 1.0
    description_end: float = 0.2
    block_tokens: int = 288  # of a picture, at most; what is drawn last is left out
    alignment_start: float = 1.0
    alignment_end: float = 0.2
    hint_full: int = 150  # steps with the words' embeddings added to the visual tokens in full,
    hint_none: int = 350  # faded out until here
    embedding_spread: float = 0.5  # of the word embeddings at the start
    phase1_shares: tuple[float, ...] = (0.06, 0.14, 0.32, 0.40, 0.08)
    phase2_shares: tuple[float, ...] = (0.10, 0.12, 0.18, 0.25, 0.35)
    step_images: int = 16
    micro_tokens: int = 10_000  # of a micro-batch, visual and text together: what the caches hold
    exam_pictures: int = 160
    exam_seconds: float = 480.0
    checkpoint_seconds: float = 120.0
    threads: int = 2
    dtype: str = "auto"  # of the working weights: bfloat16, float32, or whichever is faster here
    compile: bool = True
    seed: int = 20_261_124

    def conditioning(self) -> Conditioning:
        """What the preprocessor does to pixel values."""
        return Conditioning.parse(PREPROCESSOR, "preprocessor_config.json")

    def config(self) -> dict[str, Any]:
        """config.json in the official LLaVA-M3 layout."""
        return {
            "architectures": ["LlavaLlamaForCausalLM"],
            "attention_bias": False,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "pad_token_id": 0,
            "hidden_act": "silu",
            "hidden_size": self.hidden,
            "image_aspect_ratio": "pad",
            "initializer_range": 0.04,
            "intermediate_size": self.intermediate,
            "m3_conversation": "m3_tiny",
            "matryoshka_vis_token_scale": list(SCALES),
            "max_position_embeddings": self.context,
            "mm_hidden_size": self.tower_width,
            "mm_patch_merge_type": "flat",
            "mm_projector_type": "mlp2x_gelu",
            "mm_use_im_patch_token": False,
            "mm_use_im_start_end": False,
            "mm_vision_select_feature": "patch",
            "mm_vision_select_layer": -2,
            "mm_vision_tower": "vision_tower",
            "model_type": "llava_llama",
            "num_attention_heads": self.heads,
            "num_hidden_layers": self.layers,
            "num_key_value_heads": self.heads,
            "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0,
            "tie_word_embeddings": False,
            "tokenizer_model_max_length": self.context,
            "tokenizer_padding_side": "right",
            "unfreeze_mm_vision_tower": True,
            "use_cache": True,
            "use_mm_proj": True,
            "vocab_size": self.vocabulary,
        }

    def tower_config(self) -> dict[str, Any]:
        """The CLIP folder's config.json."""
        vision = {
            "model_type": "clip_vision_model",
            "hidden_size": self.tower_width,
            "intermediate_size": 4 * self.tower_width,
            "num_hidden_layers": self.tower_layers,
            "num_attention_heads": self.tower_heads,
            "num_channels": 3,
            "image_size": SIZE,
            "patch_size": PATCH,
            "hidden_act": "quick_gelu",
            "layer_norm_eps": 1e-5,
            "projection_dim": 64,
        }
        return {"model_type": "clip", "architectures": ["CLIPModel"], "vision_config": vision}
