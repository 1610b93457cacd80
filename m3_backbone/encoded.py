"""One image's grids, and its visual tokens at every scale: made once, pooled on demand, kept."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from m3_backbone.pooling import Layout, Reducer
from m3_backbone.scales import Ladder
from m3_backbone.summary import ImageSummary


@dataclass(eq=False)
class TorchEncodedImage:
    """`m3_backbone.types.EncodedImage` on a torch device.

    grid: projected features [views, G, G, hidden]. owner: fingerprint of the model that made it; another
    model refuses it. Valid in one process; used by one thread at a time.
    """

    grid: Tensor
    layout: Layout
    ladder: Ladder
    content_hash: str
    owner: str
    reducer: Reducer
    newline: Tensor | None = None
    summary: ImageSummary | None = None
    _pooled: dict[int, Tensor] = field(default_factory=dict)
    _tokens: dict[int, Tensor] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the image in pixels."""
        return self.layout.size

    @property
    def views(self) -> int:
        return self.grid.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes held once every scale was used: the bound that a cache needs from the start."""
        width = self.grid.shape[-1] * self.grid.element_size()
        sizes = self.ladder.scales[:-1]
        pooled = sum(self.views * scale for scale in sizes)
        joined = 0 if self.layout.tiles is None else sum(self.n_tokens(scale) for scale in self.ladder)
        return self.grid.nbytes + (pooled + joined) * width

    def n_tokens(self, scale: int) -> int:
        """Visual tokens at ``scale``; raises `ScaleError` off the ladder."""
        return self.layout.n_tokens(self.ladder.side(scale))

    def pooled(self, scale: int) -> Tensor:
        """[views, side, side, hidden]."""
        if scale not in self._pooled:
            self._pooled[scale] = self.reducer(self.grid, self.ladder.side(scale))
        return self._pooled[scale]

    def tokens(self, scale: int) -> Tensor:
        """[n_tokens(scale), hidden], as they take the image's slot of the prompt."""
        if scale not in self._tokens:
            self._tokens[scale] = self.layout.join(self.pooled(scale), self.newline)
        return self._tokens[scale]
