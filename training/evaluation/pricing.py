"""The same requests priced at LLaVA-1.5-7B's shape: what the choices would cost on the model M3 was made for.

Visual tokens, answer tokens and prompt lengths are those of the outcome table; only the sizes of tower
and language model are exchanged. (The tokenizer differs, so prompt lengths are this backbone's.)
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


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


class Architecture(Protocol):
    """What is read of `m3_backbone.cost.Architecture`."""

    def request_flops(self, *, views: int, visual_tokens: int, text_tokens: int, new_tokens: int) -> int: ...


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
