"""A checkpoint's name -> a model that answers."""

from __future__ import annotations

from pathlib import Path

import torch

from m3_backbone.checkpoint import load_checkpoint
from m3_backbone.compiling import require_compiler
from m3_backbone.devices import require_device
from m3_backbone.hub import local_folder
from m3_backbone.machine import keep_freed_memory
from m3_backbone.model import DTYPES, M3Model
from m3_backbone.prompt import conversation as template_named
from m3_backbone.scales import Ladder
from m3_backbone.tokenizer import Tokenizer
from m3_backbone.types import CheckpointError


def load_backbone(
    path: str | Path,
    dtype: str = "float32",
    device: str = "cpu",
    vision_tower: str | Path | None = None,
    conversation: str | None = None,
    *,
    ladder: Ladder | None = None,
    reducer: str = "average",
    kv_budget_bytes: int | None = None,
    prompt_limit: int | None = None,
    compiled: bool = False,
) -> M3Model:
    """The model in a checkpoint folder, a hub name, or the embedded one (``"tiny"``).

    On a CPU the process keeps memory that it frees from now on (`m3_backbone.machine.keep_freed_memory`).

    vision_tower: the CLIP folder, where config.json's does not resolve.
    conversation: name of the template; default is config.json's ``m3_conversation``, else vicuna_v1. To every
        bundle another one is another backbone.
    ladder: for a plain LLaVA, whose config.json names no scales: its grid is pooled to them without training,
        or to 1, 9, 36, 144 and 576.
    reducer: a name of `m3_backbone.pooling.REDUCERS`: M3's average pooling, or the paper's baselines.
    kv_budget_bytes: bytes of keys and values cached at any time: a batch that needs more is run in portions,
        a request that needs more is refused (`KvBudgetExceeded`). None: no limit.
    prompt_limit: tokens of a prompt at most; default is ``tokenizer_model_max_length``, where the reference
        cuts. Up to the model's positions: many images, or frames of a clip, beyond what was trained with.
    compiled: torch.compile for what surrounds attention: the first requests are slow, and answers agree with
        those of the plain model to rounding only.

    Raises `DeviceError` for a device that cannot be used, before anything is fetched or read,
    `CheckpointError` naming everything that does not fit, ValueError for a parameter out of range.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype {dtype!r} is not known. Known: {', '.join(DTYPES)}.")
    require_device(device)  # before gigabytes are fetched and read for it
    if conversation is not None:
        template_named(conversation)
    if compiled:
        require_compiler(torch.device(device))
    if str(path) == "tiny" and not Path(path).is_dir():
        from m3_backbone import embedded_path

        path = embedded_path()
    folder = local_folder(path)
    tokenizer = Tokenizer.load(folder)  # small things first: they fail before gigabytes are read
    if torch.device(device).type == "cpu":
        keep_freed_memory()
    checkpoint = load_checkpoint(
        folder, dtype=DTYPES[dtype], device=device, vision_tower=vision_tower, ladder=ladder
    )
    vocabulary = int(checkpoint.modules.language_model.config.vocab_size)
    if tokenizer.size > vocabulary:
        raise CheckpointError(
            f"The tokenizer has {tokenizer.size} pieces, the model {vocabulary} embeddings."
        )
    template = conversation or checkpoint.config.template
    return M3Model(
        checkpoint,
        tokenizer,
        template,
        reducer=reducer,
        kv_budget_bytes=kv_budget_bytes,
        prompt_limit=prompt_limit,
        compiled=compiled,
    )
