"""Batches of requests of any mix of scales: prefill in groups, decode together.

Requests that share everything up to their last image (the same image at the same scale) share one row:
the prefix is computed and stored once, and each question attends to it and to itself. The text before the
first image is computed once for all rows, where it is long. Tokens of all rows go through the linear layers
as one flat list; padding exists in the attention of a group alone, and groups hold rows of about one length.
Greedy ids in float32 equal single runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from m3_backbone.decoder import Decoder
from m3_backbone.group import Group
from m3_backbone.head import Head
from m3_backbone.rows import Member, Row, shared_head, similar, waves

Picked = Callable[[int, int, float, float], bool]
"""(request, token id, log-probability, margin over the runner-up) -> whether the request goes on."""


@torch.inference_mode()
def run(
    decoder: Decoder,
    rows: Sequence[Row],
    picked: Picked,
    cancelled: Callable[[int], bool],
    *,
    kv_budget_bytes: int | None = None,
) -> None:
    """Prefills all rows, then decodes until ``picked`` says stop, ``room`` is used up or cancelled.

    kv_budget_bytes: bytes of cached keys and values at any time; rows that do not fit run after the others.
    """
    if kv_budget_bytes is None:
        _run(decoder, rows, picked, cancelled, fixed=False)
        return
    for wave in waves(rows, kv_budget_bytes // decoder.kv_bytes(1)):
        _run(decoder, wave, picked, cancelled, fixed=True)


def _run(
    decoder: Decoder, rows: Sequence[Row], picked: Picked, cancelled: Callable[[int], bool], *, fixed: bool
) -> None:
    groups = [Group(decoder, members, fixed=fixed) for members in similar(rows)]
    ids = shared_head(rows)
    head = Head(decoder, ids) if ids else None
    for group in groups:
        group.prefill_prefix(head)
    del head
    states = decoder.forward([group.suffix_step() for group in groups])
    while groups:
        active = [member for group in groups for _, _, member in group.active]
        tokens = _pick(decoder.logits(states), active, picked, cancelled)
        start = 0
        for group in groups:
            stop = start + len(group.active)
            group.advance(tokens[start:stop])
            start = stop
        groups = [group for group in groups if group.active]
        if groups:
            states = decoder.forward([group.decode_step() for group in groups])


def _pick(
    logits: Tensor, members: Sequence[Member], picked: Picked, cancelled: Callable[[int], bool]
) -> list[int | None]:
    """The next token of every member, None for those that stop. logits: float32 [members, vocabulary]."""
    logprobs = logits.log_softmax(dim=-1)
    top = logprobs.topk(2, dim=-1)
    ids = top.indices[:, 0].tolist()
    best = top.values[:, 0].tolist()
    margins = (top.values[:, 0].exp() - top.values[:, 1].exp()).tolist()
    tokens: list[int | None] = []
    for place, member in enumerate(members):
        token, logprob = ids[place], best[place]
        if cancelled(member.request):
            tokens.append(None)
            continue
        if member.sampler is not None:
            token = member.sampler(logits[place])
            logprob = float(logprobs[place, token])
        member.room -= 1
        goes_on = picked(member.request, token, logprob, margins[place])
        tokens.append(token if goes_on and member.room > 0 else None)
    return tokens
