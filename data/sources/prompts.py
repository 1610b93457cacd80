"""How questions are asked: the official evaluations' formats, by name. Samples name the one they are in.

The forms are lmms-eval's (lmms_eval/tasks/NAME), which M3 was evaluated with; the first three are also
those of LLaVA's docs/Evaluation.md and of arXiv 2310.03744, table 7.
"""

from __future__ import annotations

import string
from collections.abc import Sequence

AS_WRITTEN, SHORT_ANSWER, OPTION_LETTER = "as_written", "short_answer", "option_letter"

_UNSURE = "\nWhen the provided information is insufficient, respond with 'Unanswerable'."
_SHORT = "\nAnswer the question using a single word or phrase."
_LETTER = "\nAnswer with the option's letter from the given choices directly."

PROMPTS = {
    AS_WRITTEN: "{question}",
    SHORT_ANSWER: "{question}" + _SHORT,
    OPTION_LETTER: "{question}\n{options}" + _LETTER,
    "single_word": "{question}\nAnswer the question with a single word.",
    "vizwiz": "{question}" + _UNSURE + _SHORT,
    "scienceqa": "Context: {hint}\n{question}\n{options}" + _LETTER,
    "mmbench": "{question} There are several options:\n{options}\n" + _LETTER,
    "mmbench_hint": "{hint} {question} There are several options:\n{options}\n" + _LETTER,
    "mmmu": "{question}\n{options}\n" + _LETTER,
}
"""Name -> form. options: a line ``A. text`` for each choice."""


def asked(name: str, question: str, choices: Sequence[str] = (), hint: str = "") -> str:
    """The question in the form ``name``, exactly as the model gets it."""
    options = "\n".join(f"{c}. {choice}" for c, choice in zip(string.ascii_uppercase, choices, strict=False))
    return PROMPTS[name].format(question=question, options=options, hint=hint)
