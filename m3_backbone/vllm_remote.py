"""A vLLM on another machine, asked with embeddings over its completions API.

Not covered: keys and TLS certificates of one's own. Who reaches such a vLLM can send it any embeddings, and
it unpacks tensors that others made: for networks that one trusts.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import AsyncGenerator
from typing import Any

import torch

from m3_backbone.language_model import LanguageModelDied, Picked, Prefix, margin
from m3_backbone.types import CheckpointError, EngineError, QueueFull

_CONNECT_S = 10.0
_GONE = frozenset({502, 504})  # what a proxy says for it; a vLLM whose engine died ends and is not reached


class RemoteVllm:
    """`m3_backbone.language_model.Client` for a vLLM that serves ``model``. address: ``http://HOST:PORT``."""

    def __init__(self, address: str, model: str) -> None:
        self.address = address.rstrip("/")
        self.model = model
        self.context_tokens: int | None = None
        """Of a prompt and its answer together, at most; None until it is open, and where it does not say."""
        self._http: Any = None
        self._dead = False

    async def open(self) -> None:
        import httpx

        timeout = httpx.Timeout(None, connect=_CONNECT_S)  # of tokens the engine takes the time
        # vLLM closes a connection that is idle for 5 s: taken again just then, it would look like vLLM's end
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        http = httpx.AsyncClient(base_url=self.address, timeout=timeout, limits=limits, trust_env=False)
        try:
            reply = await http.get("/v1/models", timeout=_CONNECT_S)
            reply.raise_for_status()
            served = {str(model["id"]): model.get("max_model_len") for model in reply.json()["data"]}
        except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError) as error:
            await http.aclose()
            raise LanguageModelDied(
                f"There is no vLLM at {self.address} ({type(error).__name__})."
            ) from error
        if self.model not in served:
            await http.aclose()
            raise CheckpointError(
                f"The vLLM at {self.address} serves {', '.join(served) or 'nothing'}, not {self.model}: "
                "another checkpoint would answer. `python -m m3_backbone.vllm_checkpoint` says how it starts."
            )
        most = served[self.model]
        self.context_tokens = most if isinstance(most, int) else None
        self._http, self._dead = http, False

    async def close(self) -> None:
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    @property
    def dead(self) -> bool:
        return self._dead

    async def stream(self, prefix: Prefix) -> AsyncGenerator[Picked, None]:
        import httpx

        if self._http is None:
            raise LanguageModelDied("The vLLM is not open.")
        body = _body(self.model, prefix)
        try:
            async with self._http.stream("POST", "/v1/completions", json=body) as reply:
                if reply.status_code != 200:
                    await reply.aread()
                    raise self._fault(reply.status_code)
                ended = False
                async for line in reply.aiter_lines():
                    if line == "data: [DONE]":
                        ended = True
                    elif line.startswith("data: "):
                        for picked in self._picked(json.loads(line.removeprefix("data: "))):
                            yield picked
                if not ended:
                    raise self._gone("cut the answer short")
        except httpx.HTTPError as error:
            raise self._gone(type(error).__name__) from error
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise EngineError("The vLLM answered what no vLLM should.") from error

    def _picked(self, chunk: dict[str, Any]) -> list[Picked]:
        if "error" in chunk:
            raise self._fault(int(chunk["error"].get("code") or 500))
        picked = []
        for choice in chunk["choices"]:
            logprobs = choice.get("logprobs") or {"token_logprobs": [], "top_logprobs": []}
            for token, logprob, top in zip(
                choice.get("token_ids") or (),
                logprobs["token_logprobs"],
                logprobs["top_logprobs"],
                strict=True,
            ):
                picked.append(Picked(int(token), min(logprob, 0.0), margin(list(top.values()))))
        return picked

    def _fault(self, status: int) -> EngineError:
        if status in _GONE:
            return self._gone(f"status {status}")
        if status == 503:
            return QueueFull("The vLLM has no place for more. Try again later.")
        return EngineError(f"The vLLM failed on this request (status {status}).")

    def _gone(self, why: str) -> LanguageModelDied:
        self._dead = True
        return LanguageModelDied(f"The vLLM cannot be reached ({why}).")


def _body(model: str, prefix: Prefix) -> dict[str, Any]:
    return {
        "model": model,
        "prompt_embeds": _packed(prefix.embeds),
        "max_tokens": prefix.max_new_tokens,
        "temperature": prefix.temperature,
        "top_p": max(prefix.top_p, 1e-6),
        "seed": prefix.seed,
        "stop_token_ids": sorted(prefix.stop_ids),
        "ignore_eos": True,
        "logprobs": 2,
        "return_token_ids": True,
        "return_tokens_as_token_ids": True,  # else two tokens of one text would be one entry
        "stream": True,
    }


def _packed(embeds: torch.Tensor) -> str:
    """As vLLM wants them: the base64 of torch's file format."""
    file = io.BytesIO()
    torch.save(embeds.cpu().clone(), file)
    return base64.b64encode(file.getvalue()).decode()
