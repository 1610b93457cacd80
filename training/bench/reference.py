"""The reference's way to answer, with transformers' own classes: the thing that ours is measured against.

mu-cai/matryoshka-mm answers one request at a time: the whole CLIP tower with all its hidden states, the
projector, the pooling, then `LlamaForCausalLM.generate` with its KV cache over the embedded prompt. Nothing
is kept from one scale, question or request to the next.

Shared with ours, so that no difference comes from there: weights, dtype, threads, attention kernel (SDPA),
preprocessing of pixels, tokenisation.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import CLIPVisionModel

from m3_backbone.model import M3Model
from m3_backbone.modules import M3Modules
from m3_backbone.pooling import Layout, average
from m3_backbone.preprocess import preprocess


@dataclass(frozen=True, slots=True)
class Ask:
    """One question about one picture at one scale. endless: the end of sequence is a token like others."""

    picture: Image.Image
    question: str
    scale: int
    new_tokens: int = 16
    endless: bool = False


def whole_tower(modules: M3Modules) -> CLIPVisionModel:
    """A copy of the tower with all its layers; to be made before an `M3Model` drops the unused ones."""
    return copy.deepcopy(modules.tower)


class Reference:
    """Answers one `Ask` at a time. ``tower``: see `whole_tower`; everything else is ``backbone``'s own."""

    def __init__(self, backbone: M3Model, tower: CLIPVisionModel) -> None:
        self._backbone = backbone
        self._tower: Any = tower
        self._projector = backbone.model.projector
        self._language_model: Any = backbone.model.language_model
        self._stop_ids = sorted(backbone.stop_ids)

    @torch.inference_mode()
    def answer(self, ask: Ask) -> tuple[int, ...]:
        """Greedy ids, the end of sequence included."""
        embeds = self.prompt(ask)
        ids = self._language_model.generate(
            inputs_embeds=embeds,
            attention_mask=torch.ones(embeds.shape[:2], dtype=torch.int64, device=embeds.device),
            do_sample=False,
            use_cache=True,
            max_new_tokens=ask.new_tokens,
            eos_token_id=None if ask.endless else self._stop_ids,
            pad_token_id=0,
        )
        return tuple(ids[0].tolist())

    @torch.inference_mode()
    def encode(self, picture: Image.Image) -> tuple[Tensor, Layout]:
        """Grids of the picture's views [views, G, G, hidden], and how they are joined."""
        ours = self._backbone
        views = preprocess(picture, ours.config, ours.checkpoint.conditioning)
        pixels = torch.from_numpy(views.pixels).to(device=ours.device, dtype=ours.dtype)
        states = self._tower(pixels, output_hidden_states=True).hidden_states
        features = self._projector(states[ours.config.select_layer][:, 1:])
        side = ours.ladder.grid_side
        return features.unflatten(1, (side, side)), Layout(views.size, views.tiles, ours.config.merge)

    @torch.inference_mode()
    def prompt(self, ask: Ask) -> Tensor:
        """The embedded prompt, [1, tokens, hidden]."""
        ours = self._backbone
        grid, layout = self.encode(ask.picture)
        visual = layout.join(average(grid, ours.ladder.side(ask.scale)), ours.model.image_newline)
        before, after = ours.prompt((ask.question,), 1).chunks
        return torch.cat((self._embed(before), visual, self._embed(after)))[None]

    @torch.inference_mode()
    def next_logits(self, ask: Ask, ids: Sequence[int]) -> Tensor:
        """float32 [vocabulary]: what follows when the answer began with ``ids``."""
        embeds = torch.cat((self.prompt(ask), self._embed(ids)[None]), dim=1)
        logits: Tensor = self._language_model(inputs_embeds=embeds, logits_to_keep=1).logits
        return logits[0, -1].float()

    def _embed(self, ids: Sequence[int]) -> Tensor:
        index = torch.tensor(list(ids), dtype=torch.int64, device=self._backbone.device)
        embedded: Tensor = self._language_model.get_input_embeddings()(index)
        return embedded
