"""An answer in the words of OpenAI's chat completions: one body, or chunks of a stream; and our headers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from router.service.bodies import DecisionBody
from router.service.pipeline import Pipeline
from router.service.replies import decision_body, pass_bodies
from router.service.results import Answered, Routed, leading

NO_IMAGE = DecisionBody(policy="none", reason="there is no image", certified=False, probabilities={})


@dataclass(frozen=True, slots=True)
class ChatReply:
    """What all parts of one reply share, its parts as they were last routed. created: seconds since 1970."""

    pipeline: Pipeline
    parts: tuple[Routed, ...]
    request_id: str
    created: int

    @classmethod
    def now(cls, pipeline: Pipeline, parts: tuple[Routed, ...], request_id: str) -> ChatReply:
        return cls(pipeline, parts, request_id, int(time.time()))

    @property
    def router(self) -> str | None:
        """Version of the router that decided (that is loaded, when there was nothing to decide)."""
        return self.parts[0].router if self.parts else self.pipeline.router_version

    @property
    def headers(self) -> dict[str, str]:
        """The routing facts that are known before the first token; of several images the largest scale."""
        decision = self._decision
        return {
            "x-m3-scale": str(self._scale),
            "x-m3-visual-tokens": str(sum(part.cost.visual_tokens for part in self.parts)),
            "x-m3-decision": decision["policy"],
            "x-m3-certified": str(decision["certified"]).lower(),
            "x-m3-router-version": self.router or "none",
        }

    def body(self, done: Answered) -> dict[str, Any]:
        """The whole answer (``chat.completion``)."""
        message = {"role": "assistant", "content": done.generation.text, "refusal": None}
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": _finish_reason(done),
        }
        return {
            **self._head("chat.completion"),
            "choices": [choice],
            "usage": _usage(done),
            "m3_routing": self._routing(done),
        }

    def chunk(self, delta: dict[str, str], done: Answered | None = None) -> dict[str, Any]:
        """A piece of a stream; ``done`` makes it the last one with a choice."""
        choice = {
            "index": 0,
            "delta": delta,
            "logprobs": None,
            "finish_reason": None if done is None else _finish_reason(done),
        }
        routing = {} if done is None else {"m3_routing": self._routing(done)}
        return {**self._head("chat.completion.chunk"), "choices": [choice], **routing}

    def usage_chunk(self, done: Answered) -> dict[str, Any]:
        """What ``stream_options.include_usage`` asks for: usage without a choice."""
        return {**self._head("chat.completion.chunk"), "choices": [], "usage": _usage(done)}

    def chunks(self, done: Answered, *, usage: bool) -> Iterator[dict[str, Any]]:
        """A whole answer as a stream: of a cascade no token is sent before the last pass is done."""
        yield self.chunk({"role": "assistant", "content": ""})
        yield self.chunk({"content": done.generation.text})
        yield self.chunk({}, done)
        if usage:
            yield self.usage_chunk(done)

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{self.request_id}",
            "object": kind,
            "created": self.created,
            "model": self.pipeline.engine.name + (f"@{self._scale}" if self.parts else ""),
            "system_fingerprint": self.router,
        }

    @property
    def _scale(self) -> int:
        part = leading(self.parts)
        return 0 if part is None else part.decision.scale

    @property
    def _decision(self) -> dict[str, Any]:
        """Of the image with the largest scale. Nothing is certified for several images, or for none."""
        part = leading(self.parts)
        if part is None:
            return NO_IMAGE.model_dump()
        decision = decision_body(part).model_dump()
        return {**decision, "certified": decision["certified"] and len(self.parts) == 1}

    def _routing(self, done: Answered) -> dict[str, Any]:
        """All passes; there is one, unless a cascade made more."""
        cost = done.cost
        return {
            "scale": done.scale,
            **self._decision,
            "images": [
                {
                    "scale": part.decision.scale,
                    "visual_tokens": part.cost.visual_tokens,
                    "probabilities": decision_body(part).probabilities,
                }
                for part in self.parts
            ],
            "passes": [each.model_dump() for each in pass_bodies(done)],
            "visual_tokens": cost.visual_tokens,
            "full_visual_tokens": cost.full_visual_tokens,
            "flops": cost.flops,
            "full_flops": cost.full_flops,
            "timings_ms": done.timings_ms,
        }


def event(value: dict[str, Any]) -> bytes:
    """``value`` as one server-sent event."""
    return b"data: " + json.dumps(value, separators=(",", ":"), allow_nan=False).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


def _finish_reason(done: Answered) -> str:
    return "length" if done.generation.finish_reason == "length" else "stop"


def _usage(done: Answered) -> dict[str, Any]:
    prompt = sum(each.prompt_tokens for each in done.passes)
    completion = sum(each.new_tokens for each in done.passes)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"image_tokens": done.generation.visual_tokens, "cached_tokens": 0},
    }
