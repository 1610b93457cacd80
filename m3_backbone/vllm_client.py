"""vLLM's async engine in processes of its own on this machine, asked with embeddings."""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from m3_backbone.language_model import LanguageModelDied, Picked, Prefix, margin
from m3_backbone.types import EngineError

OURS: dict[str, object] = {
    "skip_tokenizer_init": True,  # text becomes embeddings on our side, and ids become text there
    "enable_prompt_embeds": True,
    "enable_prefix_caching": False,  # its keys are ids: with embeddings there are none to compare
    "generation_config": "vllm",
    "disable_log_stats": True,
}
"""Engine arguments that are no choice of the operator's; neither are those of `_GIVEN`."""

_GIVEN = frozenset({"model", "dtype", "tokenizer", "logprobs_mode"})
"""With vLLM's own ``logprobs_mode`` confidences are of the model's logits, as the torch engine's are."""

ROUNDING = ("hf_overrides", "kv_cache_dtype", "quantization")
"""Engine arguments that change the numbers of answers beside their dtype."""

_ENVIRONMENT = {
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",  # a fork of a process whose threads have run torch can hang
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
}
"""What vLLM reads from the environment; a value that is there already stays."""


_REMOTE = re.compile(r"vllm\+(https?://[^\s/?#@]+)/?")


def is_vllm(engine: str) -> bool:
    """``vllm``, or ``vllm+http://HOST:PORT`` for one that runs elsewhere."""
    return engine == "vllm" or address_of(engine) is not None


def address_of(engine: str) -> str | None:
    """Of a vLLM that runs elsewhere; None where ``engine`` names none, or no host or port that can be."""
    found = _REMOTE.fullmatch(engine)
    if found is None:
        return None
    try:
        address = urlsplit(found[1])
        return found[1] if address.hostname and address.port != 0 else None
    except ValueError:  # a port that is no number or above 65535, brackets that do not close
        return None


class VllmOptionError(ValueError):
    """An option that vLLM does not have, or that is not the operator's to choose; the message names it."""


class VllmClient:
    """`m3_backbone.language_model.Client` over ``AsyncLLM``.

    folder: what `m3_backbone.vllm_checkpoint.split_language_model` gave. options: vLLM's engine arguments.
    """

    def __init__(self, folder: Path, options: Mapping[str, object]) -> None:
        self.arguments: dict[str, Any] = {"model": str(folder), **OURS, **options}
        self._engine: Any = None

    async def open(self) -> None:
        from vllm import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        try:
            self._engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**self.arguments))
        except Exception as error:  # of many kinds; its processes have logged the reason
            said = " ".join(str(error).split()) or type(error).__name__
            raise LanguageModelDied(f"vLLM did not start: {said[:500]} Its own lines say why.") from error

    async def close(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.shutdown()

    @property
    def context_tokens(self) -> int:
        """Of a prompt and its answer together, at most; of one that is open."""
        return int(self._engine.model_config.max_model_len)

    @property
    def dead(self) -> bool:
        return self._engine is not None and bool(self._engine.errored)

    async def stream(self, prefix: Prefix) -> AsyncGenerator[Picked, None]:
        from vllm.v1.engine.exceptions import EngineDeadError

        if self._engine is None:
            raise LanguageModelDied("vLLM is not open.")
        prompt = {"prompt_embeds": prefix.embeds}
        try:
            async with aclosing(self._engine.generate(prompt, _sampling(prefix), uuid4().hex)) as outputs:
                async for output in outputs:
                    completion = output.outputs[0]
                    for token, likely in zip(completion.token_ids, completion.logprobs or (), strict=True):
                        logprobs = [each.logprob for each in likely.values()]
                        yield Picked(token, min(likely[token].logprob, 0.0), margin(logprobs))
        except EngineDeadError as error:
            raise LanguageModelDied("vLLM died.") from error
        except EngineError:
            raise
        except Exception as error:
            raise EngineError(f"vLLM failed on this request ({type(error).__name__}).") from error


def parse_options(words: list[str]) -> dict[str, object]:
    """``["tensor_parallel_size=2", "enforce_eager=true"]`` -> engine arguments; values are JSON, else text.

    Raises `VllmOptionError` for a word without ``=``, and for what is not the operator's to choose.
    """
    options: dict[str, object] = {}
    for word in words:
        name, equals, value = word.partition("=")
        name = name.strip().removeprefix("--").replace("-", "_")
        if not equals or not name:
            raise VllmOptionError(
                f"{word!r} is no option of vLLM's. Write NAME=VALUE, as in enforce_eager=true."
            )
        if name in OURS or name in _GIVEN:
            raise VllmOptionError(
                f"vLLM's {name} is not to be chosen: it follows from how vLLM is used here."
            )
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    return options


def computed_in(dtype: str, options: Mapping[str, object]) -> str:
    """What answers are computed in: ``dtype``, and what ``options`` of vLLM's change of it.

    >>> computed_in("bfloat16", {"seed": 1, "quantization": "fp8"})
    'bfloat16 with quantization=fp8'
    """
    changes = [f"{name}={options[name]}" for name in ROUNDING if options.get(name) not in (None, "auto")]
    return f"{dtype} with {', '.join(changes)}" if changes else dtype


def check_options(options: Mapping[str, object]) -> None:
    """Raises `VllmOptionError` for the first one that the installed vLLM does not know.

    What imports vLLM first: here, so that it finds its environment.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from vllm import AsyncEngineArgs

    known = {field.name for field in fields(AsyncEngineArgs)}
    for name in options:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise VllmOptionError(f"vLLM has no option {name}.{hint}")


def _sampling(prefix: Prefix) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        max_tokens=prefix.max_new_tokens,
        temperature=prefix.temperature,
        top_p=max(prefix.top_p, 1e-6),  # 0 keeps the best one here, and is refused there
        seed=prefix.seed,
        stop_token_ids=sorted(prefix.stop_ids),
        ignore_eos=True,  # the stop ids have it
        logprobs=2,
        detokenize=False,
        output_kind=RequestOutputKind.DELTA,
    )
