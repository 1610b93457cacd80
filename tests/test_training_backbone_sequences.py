from __future__ import annotations

import torch

from data.scalebench import picture
from m3_backbone.prompt import build_prompt, conversation
from tests.training_backbone import tokenizer
from training.backbone.sequences import DESCRIPTION, QUESTION, Blocks, collate


def test_a_block_is_inferences_prompt_with_the_answer_and_its_end() -> None:
    words = tokenizer()
    blocks = Blocks(words)
    for question in picture("backbone-train", 5).questions:
        prompt = build_prompt(words, conversation("m3_tiny"), (question.text,), 1)
        block = blocks.block(question.text, question.answer)
        assert blocks.prefix == prompt.chunks[0]
        assert block.ids[: block.start] == prompt.chunks[1]
        assert block.ids[-1] == words.eos_id
        assert words.decode(block.ids[block.start : -1]).strip() == question.answer


def test_what_the_model_says_after_its_prompt_is_the_answer_alone() -> None:
    words = tokenizer()
    block = Blocks(words).block("Where is it?", "bottom left", DESCRIPTION)
    assert block.role == DESCRIPTION
    assert words.eos_id not in block.ids[:-1]


def test_tokens_see_their_own_block_up_to_themselves_and_nothing_else() -> None:
    blocks = Blocks(tokenizer())
    first, second = blocks.block("Where?", "top"), blocks.block("What colour is it?", "red")
    batch = collate([[first, second], [second]])
    length = batch.ids.shape[1]
    assert length % 32 == 0
    sizes = len(first.ids), len(second.ids)
    seen = batch.mask[0, 0] == 0
    for row in range(sum(sizes)):
        start = 0 if row < sizes[0] else sizes[0]
        assert seen[row].nonzero().flatten().tolist() == list(range(start, row + 1))
    assert batch.offsets[0, : sum(sizes)].tolist() == [*range(sizes[0]), *range(sizes[1])]
    assert (batch.owner[1, sizes[1] :] == -1).all()
    assert batch.mask.shape == (2, 1, length, length)


def test_every_row_of_the_mask_sees_something_or_softmax_would_be_nan() -> None:
    blocks = Blocks(tokenizer())
    batch = collate([[blocks.block("Where?", "top")], [blocks.block("What colour is it?", "red")]])
    assert (batch.mask == 0).any(-1).all()


def test_answers_alone_are_scored_and_ends_among_them() -> None:
    blocks = Blocks(tokenizer())
    asked = blocks.block("Where?", "top left")
    told = blocks.block("Describe the picture.", "red circle", DESCRIPTION)
    batch = collate([[asked, told], [asked]])
    flat = batch.ids.flatten()
    expected = [*asked.ids[asked.start :], *told.ids[told.start :], *asked.ids[asked.start :]]
    assert batch.targets.tolist() == expected
    assert flat[batch.at + 1].tolist() == expected
    answer = len(asked.ids) - asked.start
    assert batch.role.tolist()[:answer] == [QUESTION] * answer
    assert batch.group.tolist() == [0] * answer + [1] * (len(told.ids) - told.start) + [2] * answer


def test_the_first_images_of_a_batch_are_a_batch() -> None:
    blocks = Blocks(tokenizer())
    rows = [[blocks.block("Where?", "top")], [blocks.block("What colour is it?", "red")]]
    part, alone = collate(rows).first(1), collate(rows[:1])
    assert torch.equal(part.ids, alone.ids)
    assert torch.equal(part.mask, alone.mask)
    assert torch.equal(part.at, alone.at)
    assert torch.equal(part.targets, alone.targets)
    assert torch.equal(part.role, alone.role)
    assert torch.equal(part.group, alone.group)
