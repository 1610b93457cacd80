"""Each data set's own metric: ``METRICS[name](prediction, references) -> score in [0, 1]``.

The functions equal the official evaluators within 1e-9 (tests/golden/metrics.json has records of theirs).
Where an official evaluator guesses at random (MMMU) or asks another model (MMBench), an answer that it
cannot read scores 0.

Figures over a whole corpus (POPE's F1, MME's sums) are in `data.corpus`.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from data import choices as letters
from data import vqa_text, yes_no

Metric = Callable[[str, Any], float]
"""(prediction, references): a sequence of texts; for multiple choice see `data.choices`."""


class ScoringError(ValueError):
    """An unknown metric, or references that a metric cannot use."""


# --- equality ------------------------------------------------------------------------------------


def exact_match(prediction: str, references: Sequence[str]) -> float:
    """1 when the prediction is one of the references, character for character (lmms-eval's exact_match)."""
    return float(prediction in _some(references))


def exact_match_ci_nopunct(prediction: str, references: Sequence[str]) -> float:
    """`exact_match` without case and ASCII punctuation (lmms-eval's setting for GQA and AI2D)."""
    wanted = {_ci_nopunct(reference) for reference in _some(references)}
    return float(_ci_nopunct(prediction) in wanted)


def answer_match(prediction: str, references: Sequence[str]) -> float:
    """1 when equal to a reference but for case, outer white space and one trailing full stop (our own)."""
    return float(_plain(prediction) in {_plain(r) for r in _some(references)})


def _ci_nopunct(text: str) -> str:
    # numpy's lower keeps the number of characters, unlike str.lower: the evaluator uses numpy's
    lower = str(np.char.lower(np.array([text]))[0])
    return lower.translate(str.maketrans("", "", string.punctuation))


def _plain(text: str) -> str:
    return text.lower().strip().removesuffix(".").rstrip()


# --- the VQA family: ten answers, agreement counts -------------------------------------------------


def vqa_official(prediction: str, references: Sequence[str]) -> float:
    """VQA evaluation tools. Nothing is normalised when all references are identical."""
    return _vqa(prediction, references, vqa_text.vqa)


def vqav2_lmms_m3(prediction: str, references: Sequence[str]) -> float:
    """lmms-eval's VQAv2 as M3 was evaluated: the prediction is normalised in any case."""
    return _vqa(vqa_text.m4c(prediction), references, vqa_text.m4c_parts)


def vqav2_lmms(prediction: str, references: Sequence[str]) -> float:
    """lmms-eval's VQAv2 of today: prediction and references are normalised in any case."""
    wanted = [vqa_text.m4c_parts(vqa_text.clean(reference)) for reference in _some(references)]
    return vqa_text.consensus(vqa_text.m4c_parts(vqa_text.clean(prediction)), wanted)


def _vqa(prediction: str, references: Sequence[str], normalise: Callable[[str], str]) -> float:
    prediction = vqa_text.clean(prediction)
    wanted = [vqa_text.clean(reference) for reference in _some(references)]
    if len(set(wanted)) > 1:
        prediction, wanted = normalise(prediction), [normalise(reference) for reference in wanted]
    return vqa_text.consensus(prediction, wanted)


def textvqa_m4c(prediction: str, references: Sequence[str]) -> float:
    """M4C's TextVQA evaluator, which wants exactly ten answers."""
    if len(_some(references)) != 10:
        raise ScoringError(f"textvqa_m4c needs exactly 10 references, got {len(references)}.")
    return vqa_lmms(prediction, references)


def vqa_lmms(prediction: str, references: Sequence[str]) -> float:
    """lmms-eval's TextVQA, VizWiz and OK-VQA: consensus of M4C-normalised answers, of any number."""
    wanted = [vqa_text.m4c(reference) for reference in _some(references)]
    return vqa_text.consensus(vqa_text.m4c(prediction), wanted)


def stvqa_acc_m4c(prediction: str, references: Sequence[str]) -> float:
    """M4C's ST-VQA accuracy: equal to any reference after normalisation."""
    return float(vqa_text.m4c(prediction) in {vqa_text.m4c(reference) for reference in _some(references)})


# --- numbers and edit distance -------------------------------------------------------------------


def chartqa_relaxed(prediction: str, references: Sequence[str]) -> float:
    """ChartQA: numbers within 5%, text equal but for case (lmms-eval's relaxed_correctness)."""
    return max(_relaxed(prediction, reference) for reference in _some(references))


def _relaxed(prediction: str, target: str) -> float:
    p, t = _number(prediction), _number(target)
    if p is not None and t:
        return float(abs(p - t) / abs(t) <= 0.05)
    return float(prediction.lower() == target.lower())


def _number(text: str) -> float | None:
    try:
        return float(text.rstrip("%")) / 100.0 if text.endswith("%") else float(text)
    except ValueError:
        return None


def anls_lmms(prediction: str, references: Sequence[str]) -> float:
    """DocVQA's ANLS as lmms-eval has it: white space is collapsed for the distance, not for the length."""

    def distance(reference: str) -> float:
        edits = levenshtein(" ".join(reference.lower().split()), " ".join(prediction.lower().split()))
        length = max(len(reference.upper()), len(prediction.upper()))
        return edits / length if length else 0.0

    return _above_half(1 - min(distance(reference) for reference in _some(references)))


def docvqa_task_m3_buggy(prediction: str, references: Sequence[str]) -> float:
    """DocVQA as M3 was evaluated: 1 wherever ANLS is above 0 (lmms-eval issue 363), which flatters."""
    return float(anls_lmms(prediction, references) > 0)


def anls_m4c(prediction: str, references: Sequence[str]) -> float:
    """M4C's ST-VQA ANLS; it cannot compare two empty texts."""
    p = prediction.lower().strip()
    wanted = [reference.lower().strip() for reference in _some(references)]
    if not p and not all(wanted):
        raise ScoringError("anls_m4c cannot compare an empty prediction with an empty reference.")
    return max(_above_half(1 - levenshtein(p, r) / max(len(p), len(r))) for r in wanted)


def anls_mpdocvqa(prediction: str, references: Sequence[str]) -> float:
    """MP-DocVQA's ANLS: an empty prediction scores 0."""
    p = prediction.lower().strip()
    if not p:
        return 0.0
    wanted = [reference.lower().strip() for reference in _some(references)]
    return _above_half(max(1 - levenshtein(p, r) / max(len(p), len(r)) for r in wanted))


def _above_half(similarity: float) -> float:
    return similarity if similarity >= 0.5 else 0.0


def levenshtein(a: str, b: str) -> int:
    """Edit distance: insertions, deletions and substitutions each cost 1."""
    if len(a) < len(b):
        a, b = b, a
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]


# --- yes or no -----------------------------------------------------------------------------------


def pope_llava(prediction: str, references: Sequence[str]) -> float:
    """LLaVA's POPE: yes, unless the first sentence has the word No, no or not."""
    return float(yes_no.pope_llava(prediction) == _some(references)[0])


def pope_lmms(prediction: str, references: Sequence[str]) -> float:
    """lmms-eval's POPE: exactly yes or no, but for case and outer white space."""
    return float(yes_no.pope_lmms(prediction) == yes_no.pope_lmms(_some(references)[0]))


def mme_lmms(prediction: str, references: Sequence[str]) -> float:
    """lmms-eval's MME: yes or no within the first four characters."""
    return float(yes_no.mme(prediction) == _some(references)[0].lower().strip().replace(".", ""))


# --- multiple choice -----------------------------------------------------------------------------


def scienceqa_lmms_m3(prediction: str, references: letters.References) -> float:
    """lmms-eval's ScienceQA as M3 was evaluated: the letter, or a capital letter and a full stop."""
    answer, _ = _choices(references)
    return float(prediction == answer or _leading_letter(prediction) == answer)


def scienceqa_lmms(prediction: str, references: letters.References) -> float:
    """lmms-eval's ScienceQA of today: also a small letter standing alone."""
    answer, _ = _choices(references)
    text = prediction.strip()
    return float(text.lower() == answer.lower() or _leading_letter(text) == answer)


def _leading_letter(text: str) -> str:
    return text[0] if len(text) >= 2 and text[0].isupper() and text[1] == "." else ""


def ai2d_lmms(prediction: str, references: letters.References) -> float:
    """lmms-eval's AI2D: its letter filter, then `exact_match_ci_nopunct`."""
    answer, choices = _choices(references)
    return exact_match_ci_nopunct(letters.ai2d(prediction, choices), [answer])


def ai2d_letter_exact(prediction: str, references: letters.References) -> float:
    """AI2D as M3 was evaluated: without the letter filter."""
    answer, _ = _choices(references)
    return exact_match_ci_nopunct(prediction.strip(), [answer])


def _by(parse: Callable[[str, Sequence[str]], str | None]) -> Metric:
    def score(prediction: str, references: letters.References) -> float:
        answer, choices = _choices(references)
        return float(parse(prediction, choices) == answer)

    score.__doc__ = parse.__doc__
    return score


def _choices(references: letters.References) -> tuple[str, tuple[str, ...]]:
    try:
        return letters.answer_and_choices(references)
    except ValueError as error:
        raise ScoringError(str(error)) from None


def _some(references: Sequence[str]) -> Sequence[str]:
    if not references or isinstance(references, str | Mapping) or not all(map(_is_text, references)):
        raise ScoringError(f"A metric needs a list of at least one reference text, got {references!r}.")
    return references


def _is_text(value: object) -> bool:
    return isinstance(value, str)


METRICS: dict[str, Metric] = {
    "exact_match": exact_match,
    "exact_match_ci_nopunct": exact_match_ci_nopunct,
    "answer_match": answer_match,
    "vqa_official": vqa_official,
    "vqav2_lmms_m3": vqav2_lmms_m3,
    "vqav2_lmms": vqav2_lmms,
    "textvqa_m4c": textvqa_m4c,
    "textvqa_lmms": vqa_lmms,
    "vizwiz_lmms": vqa_lmms,
    "okvqa_lmms": vqa_lmms,
    "stvqa_acc_m4c": stvqa_acc_m4c,
    "chartqa_relaxed": chartqa_relaxed,
    "anls_lmms": anls_lmms,
    "docvqa_task_m3_buggy": docvqa_task_m3_buggy,
    "anls_m4c": anls_m4c,
    "anls_mpdocvqa": anls_mpdocvqa,
    "pope_llava": pope_llava,
    "pope_lmms": pope_lmms,
    "mme_lmms": mme_lmms,
    "scienceqa_llava": _by(letters.scienceqa_llava),
    "scienceqa_lmms_m3": scienceqa_lmms_m3,
    "scienceqa_lmms": scienceqa_lmms,
    "mmbench_can_infer": _by(letters.mmbench),
    "mmmu_parse_mc": _by(letters.mmmu),
    "seedbench_lmms": _by(letters.seedbench),
    "ai2d_lmms": ai2d_lmms,
    "ai2d_letter_exact": ai2d_letter_exact,
}


def metric(name: str) -> Metric:
    """The metric called ``name``; raises `ScoringError` naming the known ones."""
    if name not in METRICS:
        raise ScoringError(f"Metric {name!r} is not known. Known: {', '.join(sorted(METRICS))}.")
    return METRICS[name]
