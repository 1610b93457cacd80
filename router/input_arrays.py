"""Route inputs of many requests as arrays: the one shape that features are computed from.

An outcome table is that shape; a request that is served is a table of one row (`OneRequest`), so that both
go through the same lines. Shapes: n requests, m images; the others as in `m3_backbone.types.RouteInputs`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from m3_backbone.types import RouteInputs

Float32 = NDArray[np.float32]


class InputArrays(Protocol):
    """Route inputs of n requests on m images, as an outcome table holds them."""

    @property
    def image_index(self) -> NDArray[np.int64]: ...  # [n] -> row of the image arrays
    @property
    def image_sizes(self) -> NDArray[np.int64]: ...  # [m, 2] width, height
    @property
    def image_views(self) -> NDArray[np.int64]: ...  # [m]
    @property
    def grid_stats(self) -> Float32: ...  # [m, G]
    @property
    def grid_stat_names(self) -> tuple[str, ...]: ...
    @property
    def pooled(self) -> Float32: ...  # [m, P, D]
    @property
    def fine(self) -> Float32: ...  # [m, R, D]
    @property
    def question(self) -> Float32: ...  # [n, E]
    @property
    def question_tokens(self) -> Sequence[NDArray[np.int32]]: ...  # n arrays [T_i]
    @property
    def questions(self) -> Sequence[str]: ...  # n texts
    @property
    def interaction(self) -> Float32: ...  # [n, I]
    @property
    def interaction_names(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class OneRequest:
    """One request in the shape of `InputArrays`."""

    image_index: NDArray[np.int64]
    image_sizes: NDArray[np.int64]
    image_views: NDArray[np.int64]
    grid_stats: Float32
    grid_stat_names: tuple[str, ...]
    pooled: Float32
    fine: Float32
    question: Float32
    question_tokens: Sequence[NDArray[np.int32]]
    questions: Sequence[str]
    interaction: Float32
    interaction_names: tuple[str, ...]

    @classmethod
    def of(cls, inputs: RouteInputs) -> OneRequest:
        return cls(
            image_index=np.zeros(1, np.int64),
            image_sizes=np.array([inputs.image_size], np.int64),
            image_views=np.array([inputs.views], np.int64),
            grid_stats=inputs.grid_stats[None],
            grid_stat_names=inputs.grid_stat_names,
            pooled=inputs.pooled[None],
            fine=inputs.fine[None],
            question=inputs.question[None],
            question_tokens=(inputs.question_tokens,),
            questions=(inputs.question_text,),
            interaction=inputs.interaction[None],
            interaction_names=inputs.interaction_names,
        )
