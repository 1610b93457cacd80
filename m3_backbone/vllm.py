"""vLLM under the language model; tower, projector, pooling and prompts stay in this process.

Not covered: LoRA, speculative decoding and quantised weights, which vLLM's options may or may not bring with
embeddings. A sampled answer is another one than the torch engine's for the same seed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing, suppress
from importlib import import_module
from pathlib import Path

import torch

from m3_backbone.host import Host
from m3_backbone.language_model import LanguageModelDied, Prefix
from m3_backbone.model import M3Model
from m3_backbone.types import EngineError, EngineUnavailable, QueueFull
from m3_backbone.vllm_backbone import VllmBackbone
from m3_backbone.vllm_checkpoint import default_cache, folder_name, split_language_model
from m3_backbone.vllm_client import VllmClient, VllmOptionError, address_of, check_options, parse_options
from m3_backbone.vllm_engine import READY, VllmEngine
from m3_backbone.vllm_remote import RemoteVllm

__all__ = [
    "VllmBackbone",
    "VllmEngine",
    "VllmOptionError",
    "default_cache",
    "parse_options",
    "require_vllm",
    "vllm_host",
]


_READY_S = 60.0  # for one token of a vLLM elsewhere


def require_vllm(engine: str, options: Mapping[str, object]) -> None:
    """Raises what `vllm_host` would for missing packages and unknown options, before anything is loaded."""
    if address_of(engine) is not None:
        import_module("httpx")
        if options:
            raise VllmOptionError("A remote vLLM has the options that it was started with: give none here.")
    else:
        check_options(options)


def vllm_host(
    backbone: M3Model,
    engine: str = "vllm",
    *,
    options: Mapping[str, object] | None = None,
    cache: Path | None = None,
    batch_size: int | None = None,
) -> Host:
    """A language model that goes on where ``backbone`` ends, opened; ``backbone`` gives up its own.

    engine: ``vllm``, or ``vllm+http://HOST:PORT``. options: vLLM's engine arguments. cache: where the
    language model's folder is kept. batch_size: requests that will run at once, where that is known.

    Raises `VllmOptionError` for an option that cannot be, `EngineUnavailable` when vLLM does not start,
    cannot be reached or takes no embeddings, `CheckpointError` when a remote one serves something else,
    OSError when the cache cannot be written, ModuleNotFoundError when vllm (or httpx, for a remote one) is
    not installed.
    """
    given = dict(options or {})
    require_vllm(engine, given)
    if (address := address_of(engine)) is not None:
        client: RemoteVllm | VllmClient = RemoteVllm(address, folder_name(backbone))
    else:
        usual: dict[str, object] = {"max_model_len": backbone.context_tokens}
        if batch_size is not None:
            usual["max_num_seqs"] = batch_size
        if backbone.limits.kv_budget_bytes is not None:
            usual["kv_cache_memory_bytes"] = backbone.limits.kv_budget_bytes
        dtype = str(backbone.dtype).removeprefix("torch.")
        folder = split_language_model(backbone, cache or default_cache())
        client = VllmClient(folder, {**usual, **given, "dtype": dtype})
    backbone.decoder.drop_layers()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()  # vLLM counts on what is free
    host = Host(client)
    host.open()
    if client.context_tokens is not None:  # a request that vLLM has no room for is refused here, and told so
        backbone.limits = backbone.limits.within(client.context_tokens)
    if address is not None:
        try:
            with suppress(QueueFull):  # it works, and has no place for more
                _ask(host, backbone, address)
        except BaseException:
            host.close()
            raise
    return host


def _ask(host: Host, backbone: M3Model, address: str) -> None:
    """A word, for nobody: a vLLM that was started otherwise than it must be has a list of its models, too."""
    embeds, _ = backbone.hand_over(READY)
    prefix = Prefix.of(embeds, backbone.stop_ids, READY)

    async def answer() -> None:
        async with asyncio.timeout(_READY_S), aclosing(host.client.stream(prefix)) as stream:
            async for _ in stream:
                pass

    try:
        host.run(answer())
    except (QueueFull, LanguageModelDied):
        raise
    except TimeoutError as error:
        raise EngineUnavailable(
            f"The vLLM at {address} gave no token within {_READY_S:g} s. Its log says what it does; start it "
            "again, or come back when it has less to do."
        ) from error
    except EngineError as error:
        raise EngineUnavailable(
            f"The vLLM at {address} does not go on from embeddings: {error} Start it with the command that "
            "`python -m m3_backbone.vllm_checkpoint` prints, --enable-prompt-embeds included."
        ) from error
