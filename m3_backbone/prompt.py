"""Conversation templates, and turns -> the ids around the image slots. Torch-free.

The template's ends of sequence and image slots are put in as ids; the user's words are always text, whatever
they spell. Between slots and ends, template and words are tokenised together, as the reference does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from m3_backbone.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Conversation:
    """LLaVA's two-separator style: ``SYSTEM USER: ... ASSISTANT: ...</s>USER: ... ASSISTANT:``."""

    system: str
    user: str = "USER"
    assistant: str = "ASSISTANT"


CONVERSATIONS = {
    "vicuna_v1": Conversation(
        "A chat between a curious user and an artificial intelligence assistant. "
        "The assistant gives helpful, detailed, and polite answers to the user's questions."
    ),
    "m3_tiny": Conversation(""),
}


@dataclass(frozen=True, slots=True)
class Prompt:
    """Ids of the text around the image slots: ``chunks[0], image 0, chunks[1], image 1, ...``.

    The first chunk starts with BOS.
    """

    chunks: tuple[tuple[int, ...], ...]

    @property
    def text_tokens(self) -> int:
        return sum(map(len, self.chunks))

    def input_ids(self, slot: int = -200) -> list[int]:
        """All ids with ``slot`` at each image, as in the reference."""
        ids = list(self.chunks[0])
        for chunk in self.chunks[1:]:
            ids += [slot, *chunk]
        return ids


def conversation(name: str) -> Conversation:
    """The template called ``name``; raises ValueError naming the known ones."""
    if name not in CONVERSATIONS:
        raise ValueError(f"Conversation {name!r} is not known. Known: {', '.join(sorted(CONVERSATIONS))}.")
    return CONVERSATIONS[name]


def build_prompt(tokenizer: Tokenizer, template: Conversation, turns: Sequence[str], images: int) -> Prompt:
    """Ids for ``turns`` (user, assistant, ..., user) with ``images`` slots before the first words.

    Several slots are separated by one space, as in lmms-eval's prompts.
    """
    chunks: list[list[str]] = [[template.system + " " if template.system else ""]]

    def add(text: str) -> None:
        chunks[-1][-1] += text

    for position, words in enumerate(turns):
        slots = images if position == 0 else 0
        add((template.assistant if position % 2 else template.user) + ":")
        if slots or words:
            add(" ")
        for slot in range(slots):
            if slot:
                add(" ")
            chunks.append([""])
        if slots:
            add("\n")
        add(words)
        if position % 2:
            if words:
                chunks[-1].append("")  # an end of sequence
        elif slots or words:
            add(" ")
    add(template.assistant + ":")
    ids = [tuple(tokenizer.encode_chunk(texts)) for texts in chunks]
    return Prompt(((tokenizer.bos_id, *ids[0]), *ids[1:]))
