"""The same requests priced at LLaVA-1.5-7B's shape: what the choices would cost on the model M3 was made for.

Visual tokens, answer tokens and prompt lengths are those of the outcome table; only the sizes of tower
and language model are exchanged. (The tokenizer differs, so prompt lengths are this backbone's.)
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Priced(Protocol):
    """What is read of `data.records.OutcomeTable`. Shapes as there."""

    @property
    def visual_tokens(self) -> NDArray[np.int64]: ...
    @property
    def text_tokens(self) -> NDArray[np.int64]: ...
    @property
    def answer_tokens(self) -> NDArray[np.int64]: ...
    @property
    def image_index(self) -> NDArray[np.int64]: ...
    @property
    def image_views(self) -> NDArray[np.int64]: ...


class Counted(Priced, Protocol):
    """A table whose own FLOPs are known."""

    @property
    def flops(self) -> NDArray[np.int64]: ...


class Architecture(Protocol):
    """What is read of `m3_backbone.cost.Architecture`."""

    def request_flops(self, *, views: int, visual_tokens: int, text_tokens: int, new_tokens: int) -> int: ...


class Tower(Protocol):
    """What is read of `m3_backbone.cost.Architecture` to price an encoding."""

    def tower_flops(self, views: int) -> int: ...


class Labelled(Architecture, Tower, Protocol):
    """What is read of `m3_backbone.cost.Architecture` to price labels."""


def price(table: Priced, architecture: Architecture) -> NDArray[np.int64]:
    """FLOPs [n, S] of every sample at every scale on ``architecture``, tower included."""
    shape = table.visual_tokens.shape
    requests = np.stack(
        [
            np.broadcast_to(table.image_views[table.image_index][:, None], shape),
            table.visual_tokens,
            np.broadcast_to(table.text_tokens[:, None], shape),
            np.maximum(table.answer_tokens, 1),
        ],
        axis=-1,
    ).reshape(-1, 4)
    # Few requests differ in size: the formula runs once for each that does.
    sizes, which = np.unique(requests, axis=0, return_inverse=True)
    flops = np.array(
        [
            architecture.request_flops(views=v, visual_tokens=t, text_tokens=p, new_tokens=a)
            for v, t, p, a in sizes.tolist()
        ],
        np.int64,
    )
    return flops[which.reshape(-1)].reshape(shape)


def encoding_flops(table: Counted, architecture: Tower | None = None) -> Floats:
    """FLOPs [n, 1] of encoding each sample's image, which a second pass over it does not pay again.

    architecture: left out, the share is read off the table's own FLOPs: they are a sum of terms in the
    number of views, of tokens, of pairs of tokens and of steps (`m3_backbone.cost`), whose prices follow
    from the rows. Where they do not (all answers equally long, FLOPs counted otherwise) it is 0, so that
    every pass pays for an encoding: too much, never too little.
    """
    views = table.image_views[table.image_index]
    if architecture is not None:
        return np.array([[architecture.tower_flops(int(v))] for v in views], np.float64)
    prompt = (table.visual_tokens + table.text_tokens[:, None]).astype(np.float64)
    steps = np.maximum(table.answer_tokens, 1) - 1.0
    pairs = prompt**2 + steps * prompt + steps * (steps + 1) / 2
    terms = (np.broadcast_to(views[:, None], prompt.shape), prompt + steps, pairs, steps + 1)
    design = np.stack([term.reshape(-1).astype(np.float64) for term in terms], axis=1)
    size = design.max(axis=0, initial=1.0)
    flops = table.flops.reshape(-1).astype(np.float64)
    found, _, rank, _ = np.linalg.lstsq(design / size, flops, rcond=1e-9)
    exact = np.allclose(design / size @ found, flops, rtol=1e-6)
    per_view = found[0] / size[0] if rank == len(terms) and exact and found.min() >= 0 else 0.0
    return views[:, None] * per_view


A100_FLOPS = 0.4 * 312e12
"""FLOP/s taken for one GPU-hour: 40% of an A100's 312 TFLOP/s (dense bfloat16, NVIDIA's data sheet). Prefill
comes near it; decoding does not, but the answers are a few tokens."""


def labelling_flops(table: Priced, architecture: Labelled) -> float:
    """FLOPs of labelling the whole table on ``architecture``: each image encoded once, then every sample
    answered at every scale. Without what `training.full_answers` asks once more, a few per cent."""
    each_scale = price(table, architecture).astype(np.float64)
    by_image = np.array([architecture.tower_flops(int(v)) for v in table.image_views], np.float64)
    answers = each_scale - by_image[table.image_index][:, None]
    return float(by_image[np.unique(table.image_index)].sum() + answers.sum())


def gpu_hours(flops: float, per_second: float = A100_FLOPS) -> float:
    """Hours of one GPU that does ``per_second`` FLOPs."""
    return flops / per_second / 3600
