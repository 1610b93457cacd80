"""Texts -> blocks of tokens behind a shared image prefix, laid out so that training equals inference.

One image's sequence is ``<s> USER: [visual tokens]`` and then several blocks ``\\nQUESTION ASSISTANT:
ANSWER</s>``. Each block sees the prefix and itself only, and its positions start right after the prefix:
for every block the numbers are those of a prompt with this question alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from m3_backbone.prompt import build_prompt, conversation
from m3_backbone.tokenizer import Tokenizer

QUESTION, DESCRIPTION = 0, 1


@dataclass(frozen=True, slots=True)
class Block:
    """ids: prompt after the image, then the answer (from ``start`` on) with its end of sequence."""

    ids: tuple[int, ...]
    start: int
    role: int = QUESTION


@dataclass(frozen=True, slots=True)
class Batch:
    """B images, T block tokens each (padded).

    ids, offsets, owner: int64 [B, T] - token, position within its block, number of its block (-1: padding).
    mask: float32 [B, 1, T, T], additive, among the block tokens.
    at: int64 [A] - flat indices (into B * T) whose next token is scored; targets int64 [A]; role int64 [A];
    group int64 [A] - the block that a scored token belongs to, over the batch.
    """

    ids: Tensor
    offsets: Tensor
    owner: Tensor
    mask: Tensor
    at: Tensor
    targets: Tensor
    role: Tensor
    group: Tensor

    def first(self, images: int) -> Batch:
        """The blocks of the first ``images`` images."""
        keep = self.at < images * self.ids.shape[1]
        rows = (self.ids[:images], self.offsets[:images], self.owner[:images], self.mask[:images])
        return Batch(*rows, self.at[keep], self.targets[keep], self.role[keep], self.group[keep])


class Blocks:
    """Makes blocks with a tokenizer and the conversation of m3-tiny."""

    def __init__(self, tokenizer: Tokenizer, template: str = "m3_tiny") -> None:
        self._tokenizer = tokenizer
        self._template = conversation(template)
        self.prefix = build_prompt(tokenizer, self._template, ("x",), 1).chunks[0]

    def block(self, question: str, answer: str, role: int = QUESTION) -> Block:
        """Raises ValueError when the answer changes how the question is tokenised."""
        prompt = build_prompt(self._tokenizer, self._template, (question,), 1).chunks[1]
        whole = self._tokenizer.encode_chunk((f"\n{question} {self._template.assistant}: {answer}", ""))
        if tuple(whole[: len(prompt)]) != prompt:
            raise ValueError(f"The answer {answer!r} changes the tokens of the question {question!r}.")
        return Block(tuple(whole), len(prompt), role)

    def word(self, word: str) -> tuple[int, ...]:
        """The ids of one word as it stands after a space."""
        before = self._tokenizer.encode_chunk(("a",))
        whole = self._tokenizer.encode_chunk((f"a {word}",))
        assert whole[: len(before)] == before
        return tuple(whole[len(before) :])


def collate(images: Sequence[Sequence[Block]]) -> Batch:
    """Several blocks per image -> one padded batch; lengths are rounded up to 32 to repeat shapes."""
    longest = max(sum(len(block.ids) for block in blocks) for blocks in images)
    length = -(-longest // 32) * 32
    shape = (len(images), length)
    ids, offsets = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    owner = np.full(shape, -1, np.int64)
    at: list[int] = []
    targets: list[int] = []
    role: list[int] = []
    group: list[int] = []
    number = 0
    for row, blocks in enumerate(images):
        start = 0
        for k, block in enumerate(blocks):
            size = len(block.ids)
            ids[row, start : start + size] = block.ids
            offsets[row, start : start + size] = np.arange(size)
            owner[row, start : start + size] = k
            scored = range(block.start, size)
            at += [row * length + start + i - 1 for i in scored]
            targets += [block.ids[i] for i in scored]
            role += [block.role] * len(scored)
            group += [number] * len(scored)
            start += size
            number += 1
    order = np.arange(length)
    allowed = (owner[:, :, None] == owner[:, None, :]) & (order[:, None] >= order[None, :])
    mask = torch.where(torch.from_numpy(allowed), 0.0, -torch.inf).unsqueeze(1)
    made = (torch.from_numpy(ids), torch.from_numpy(offsets), torch.from_numpy(owner), mask)
    return Batch(*made, *(torch.tensor(x, dtype=torch.int64) for x in (at, targets, role, group)))
