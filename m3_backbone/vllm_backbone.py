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
    """What `training.label` needs of a model (`training.answering.Backbone`), with the layers elsewhere.

    backbone: tower, projector, embeddings and prompts; it may have dropped its layers. host: the language
    model that goes on from its embeddings, as `m3_backbone.vllm.vllm_host` gives it: open. `close` ends it.

    name, fingerprint, ladder, template: those of ``backbone``.
    """

    def __init__(self, backbone: M3Model, host: Host) -> None:
        self.backbone = backbone
        self.host = host
        self.name = backbone.name
        self.fingerprint = backbone.fingerprint
        self.ladder = backbone.ladder
        self.template = backbone.template

    def encode_image(self, image: Image.Image) -> Any:
        """Grids of all views, [views, G, G, hidden], for all scales (M3, arXiv 2405.17430, section 3).

        image: any mode; alpha is dropped, EXIF orientation ignored. As `M3Model.encode_image`.
        """
        return self.backbone.encode_image(image)

    def summarise(self, image: EncodedImage, question: str | Sequence[str]) -> RouteInputs:
        """Route inputs of an image and a question; shapes are those of `RouteInputs`.

        Raises ValueError for an image that another model encoded. As `M3Model.summarise`.
        """
        return self.backbone.summarise(image, question)

    def flops(self, *, views: int, visual_tokens: int, text_tokens: int, new_tokens: int) -> int:
        """FLOPs of the whole path for one request, tower and vLLM's part included.

        Counted from the architecture's sizes (`m3_backbone.cost`), as for the torch engine.
        """
        return self.backbone.flops(
            views=views, visual_tokens=visual_tokens, text_tokens=text_tokens, new_tokens=new_tokens
        )

    def generate(self, requests: Sequence[GenerationRequest]) -> list[Generation]:
        """Answers in order, for any mix of scales; log-probabilities are in nats, of the model's logits.

        Raises the first fault: `PromptTooLong`, `ScaleError`, ValueError for a foreign image, `QueueFull` and
        `EngineError` of a language model that did not answer, `LanguageModelDied` where it is gone.
        """
        results = self.generate_each(requests)
        for result in results:
            if isinstance(result, Exception):
                raise result
        return [result for result in results if isinstance(result, Generation)]

    def generate_each(self, requests: Sequence[GenerationRequest]) -> list[Generation | Exception]:
        """One result per request, in order; a fault of one does not touch the others.

        All go to the language model at once, each as its embeddings, [prompt length, hidden]. Raises
        `LanguageModelDied` where the host is not open.
        """
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
        """Ends the language model, and what still runs with `LanguageModelDied`."""
        self.host.close()
