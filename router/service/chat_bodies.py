"""What a chat completion answers with, for OpenAPI: OpenAI's shape, and our routing facts beside it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from router.service.bodies import DecisionBody, PassBody


class ChatMessage(BaseModel):
    role: Literal["assistant"]
    content: str
    refusal: str | None


class ChatChoice(BaseModel):
    index: int
    message: ChatMessage
    logprobs: None
    finish_reason: Literal["stop", "length"]


class ChatPromptTokens(BaseModel):
    """image_tokens: visual tokens of the final pass; the other counts are of all passes."""

    image_tokens: int
    cached_tokens: int


class ChatUsage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: ChatPromptTokens


class ChatImage(BaseModel):
    """One image of the conversation, and the scale that was chosen for it."""

    scale: int
    visual_tokens: int
    probabilities: dict[str, float]


class ChatRouting(DecisionBody):
    """How the answer was routed. Of several images the decision is that of the largest scale; the scale is
    0 and the policy ``none`` without an image. Costs are of all passes."""

    model_config = ConfigDict(json_schema_extra=None)  # the base's example is none of these

    scale: int
    images: list[ChatImage]
    passes: list[PassBody]
    visual_tokens: int
    full_visual_tokens: int
    flops: int
    full_flops: int
    timings_ms: dict[str, float]


class ChatCompletion(BaseModel):
    """A whole answer. Streamed, it comes as OpenAI's ``chat.completion.chunk`` events instead."""

    id: str
    object: Literal["chat.completion"]
    created: Annotated[int, Field(description="Seconds since 1970")]
    model: Annotated[str, Field(description="NAME@SCALE")]
    system_fingerprint: str | None
    choices: list[ChatChoice]
    usage: ChatUsage
    m3_routing: ChatRouting
