"""How likely a given answer is after a prompt: the log-probabilities of its tokens, in one pass per prompt.

They are what `m3_backbone.batch` says of an answer of the model's own, to rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from m3_backbone.batch import portions
from m3_backbone.decoder import Decoder
from m3_backbone.slots import Block, Kept, Step


@torch.inference_mode()
def answer_logprobs(
    decoder: Decoder, prompts: Iterable[Tensor], answers: Sequence[Sequence[int]]
) -> list[tuple[float, ...]]:
    """Nats of every token of ``answers``, of which each follows one of ``prompts`` (embeddings [n, hidden]).

    Raises ValueError for an answer without a token.
    """
    ids = [torch.tensor(answer, dtype=torch.int64, device=decoder.device) for answer in answers]
    if not all(map(len, ids)):
        raise ValueError("An answer needs at least one token.")
    steps = (_step(decoder, prompt, answer) for prompt, answer in zip(prompts, ids, strict=True))
    found: list[tuple[float, ...]] = []
    for portion in portions(steps):
        asked = ids[len(found) : len(found) + len(portion)]
        logprobs = decoder.logits(decoder.forward(portion)).log_softmax(dim=-1)
        said = logprobs.gather(1, torch.cat(asked)[:, None])[:, 0]
        found += [tuple(part.tolist()) for part in torch.split(said, [len(answer) for answer in asked])]
    return found


def _step(decoder: Decoder, prompt: Tensor, answer: Tensor) -> Step:
    """A prompt and the answer but for its last token: what its tokens are predicted from."""
    hidden = torch.cat((prompt, decoder.embed(answer[:-1])))
    n, wanted = hidden.shape[0], len(answer)
    positions = torch.arange(n, device=decoder.device)
    kept = Kept(positions[n - wanted :], queries=wanted, mask=decoder.causal_mask(1, wanted, n - wanted))
    return Step(Block(decoder, 1, n), hidden, positions, n, mask=None, keep=kept)
