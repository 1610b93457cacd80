"""The synchronous side, for labelling: batches of requests, answered by a language model elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from m3_backbone.host import Host
from m3_backbone.language_model import CUT_SHORT, Prefix
from m3_backbone.model import M3Model
from m3_backbone.types import EncodedImage, EngineError, Generation, GenerationRequest, RouteInputs


class VllmBackbone:
    """What `training.label` needs of a model. ``host`` is open; `close` ends it."""

    def __init__(self, backbone: M3Model, host: Host) -> None:
        self.backbone = backbone
        self.host = host
        self.name = backbone.name
        self.fingerprint = backbone.fingerprint
        self.ladder = backbone.ladder
        self.template = backbone.template

    def encode_image(self, image: Image.Image) -> Any:
        return self.backbone.encode_image(image)

    def summarise(self, image: EncodedImage, question: str | Sequence[str]) -> RouteInputs:
        return self.backbone.summarise(image, question)

    def flops(self, *, views: int, visual_tokens: int, text_tokens: int, new_tokens: int) -> int:
        return self.backbone.flops(
            views=views, visual_tokens=visual_tokens, text_tokens=text_tokens, new_tokens=new_tokens
        )

    def generate(self, requests: Sequence[GenerationRequest]) -> list[Generation]:
        """Answers in order, for any mix of scales. Raises the first fault, as `M3Model.generate` does."""
        results = self.generate_each(requests)
        for result in results:
            if isinstance(result, Exception):
                raise result
        return [result for result in results if isinstance(result, Generation)]

    def generate_each(self, requests: Sequence[GenerationRequest]) -> list[Generation | Exception]:
        """One result per request, in order; a fault of one does not touch the others."""
        results: dict[int, Generation | Exception] = {}
        prefixes, answers = [], {}
        for place, request in enumerate(requests):
            try:
                embeds, answers[place] = self.backbone.hand_over(request)
            except ValueError as error:
                results[place] = error
                continue
            prefixes.append(Prefix.of(embeds, self.backbone.stop_ids, request))
        for (place, answer), picks in zip(answers.items(), self.host.answer_all(prefixes), strict=True):
            if isinstance(picks, Exception):
                results[place] = picks
                continue
            for picked in picks:
                answer.add(picked.token, picked.logprob, picked.margin, stream=False)
            results[place] = answer.generation() if answer.finished else EngineError(CUT_SHORT)
        return [results[place] for place in range(len(requests))]

    def close(self) -> None:
        self.host.close()
