"""Yes or no: what each official evaluator reads from an answer."""

from __future__ import annotations


def pope_llava(text: str) -> str:
    """LLaVA's eval_pope.py: yes, unless the first sentence has the word No, no or not."""
    words = text.split(".")[0].replace(",", "").split(" ")
    return "no" if {"No", "no", "not"} & set(words) else "yes"


def pope_lmms(text: str) -> str:
    """lmms-eval's POPE: the whole text, but for case and outer white space."""
    return text.lower().strip()


def mme(text: str) -> str:
    """lmms-eval's MME: yes or no within the first four characters, else "other"."""
    text = text.lower().strip().replace(".", "")
    if len(text) == 1:
        return {"y": "yes", "n": "no"}.get(text, "other")
    return next((word for word in ("yes", "no") if word in text[:4]), "other")
