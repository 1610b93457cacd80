"""Batches of requests of any mix of scales: prefill in groups, decode together.

Requests that share everything up to their last image (the same image at the same scale) share one row:
the prefix is computed and stored once, and each question attends to it and to itself. A prompt that shares
nothing goes through in one pass. The text before the first image is computed once for all rows, where it is
long. Tokens of all rows go through the linear layers as one flat list; padding exists in the attention of a
group alone, and groups hold rows of about one length. Greedy ids in float32 equal single runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import exp

import torch
from torch import Tensor

from m3_backbone.decoder import Decoder
from m3_backbone.group import CHUNK_TOKENS, Group
from m3_backbone.head import Head
from m3_backbone.rows import Member, Row, shared_head, similar, waves
from m3_backbone.slots import Step

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
    groups.sort(key=lambda group: not group.alone)
    ids = shared_head(rows)
    states = _prefill(decoder, groups, Head(decoder, ids) if ids else None)
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


def _prefill(decoder: Decoder, groups: Sequence[Group], head: Head | None) -> Tensor:
    """[members, hidden] of all prompts' last tokens, in the groups' order: those of rows alone first."""
    states = [
        decoder.forward(steps)
        for steps in portions(step for group in groups for step in group.first_steps(head))
    ]
    if shared := [group.suffix_step() for group in groups if not group.alone]:
        states.append(decoder.forward(shared))
    return torch.cat(states) if len(states) > 1 else states[0]


def portions(steps: Iterable[Step]) -> Iterator[list[Step]]:
    """``steps`` in lists of at most `CHUNK_TOKENS`, in order: short ones share what a forward pass costs."""
    portion: list[Step] = []
    room = CHUNK_TOKENS
    for step in steps:
        if portion and step.hidden.shape[0] > room:
            yield portion
            portion, room = [], CHUNK_TOKENS
        portion.append(step)
        room -= step.hidden.shape[0]
    if portion:
        yield portion


def _pick(
    logits: Tensor, members: Sequence[Member], picked: Picked, cancelled: Callable[[int], bool]
) -> list[int | None]:
    """The next token of every member, None for those that stop. logits: float32 [members, vocabulary]."""
    logprobs = logits.log_softmax(dim=-1)
    top = logits.topk(2, dim=-1).indices
    ids, best = top.tolist(), logprobs.gather(1, top).tolist()
    tokens: list[int | None] = []
    for place, member in enumerate(members):
        if cancelled(member.request):
            tokens.append(None)
            continue
        token, (logprob, second) = ids[place][0], best[place]
        margin = exp(logprob) - exp(second)
        if member.sampler is not None:
            token = member.sampler(logits[place])
            logprob = float(logprobs[place, token])
        member.room -= 1
        goes_on = picked(member.request, token, logprob, margin)
        tokens.append(token if goes_on and member.room > 0 else None)
    return tokens
