"""Labelling with vLLM under the language model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from m3_backbone.vllm_client import is_vllm, parse_options
from router.cli.vllm import told
from router.errors import M3Error

if TYPE_CHECKING:
    from m3_backbone import M3Model
    from m3_backbone.vllm import VllmBackbone


def with_vllm(
    load: Callable[[], M3Model], engine: str, options: Sequence[str], cache: Path | None
) -> VllmBackbone:
    """What ``load`` gives, its language model in vLLM; `close` ends it.

    options: NAME=VALUE each. Raises `M3Error` for what stands against it, and what ``load`` raises.
    """
    if not is_vllm(engine):
        raise M3Error(
            f"There is no engine {engine!r}. Take torch, vllm or vllm+http://HOST:PORT.", code="engine"
        )
    with told(engine):
        from m3_backbone.vllm import VllmBackbone, require_vllm, vllm_host

        given = parse_options(list(options))
        require_vllm(engine, given)
        model = load()
        return VllmBackbone(model, vllm_host(model, engine, options=given, cache=cache))
