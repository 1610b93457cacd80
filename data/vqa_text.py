"""How the VQA evaluators normalise answers, to the letter, oddities included.

Two public normalisers: that of the VQA evaluation tools (GT-Vision-Lab/VQA, vqaEval.py) and the one that
M4C, TextVQA and lmms-eval use (facebookresearch/mmf, EvalAIAnswerProcessor), which differ in commas.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_PAIRS = """\
aint ain't arent aren't cant can't couldve could've couldnt couldn't couldn'tve couldn't've
couldnt've couldn't've didnt didn't doesnt doesn't dont don't hadnt hadn't hadnt've hadn't've
hadn'tve hadn't've hasnt hasn't havent haven't hed he'd hed've he'd've he'dve he'd've hes he's
howd how'd howll how'll hows how's Id've I'd've I'dve I'd've Im I'm Ive I've isnt isn't itd it'd
itd've it'd've it'dve it'd've itll it'll maam ma'am mightnt mightn't mightnt've mightn't've
mightn'tve mightn't've mightve might've mustnt mustn't mustve must've neednt needn't notve not've
oclock o'clock oughtnt oughtn't ow's'at 'ow's'at 'ows'at 'ow's'at 'ow'sat 'ow's'at shant shan't
shed've she'd've she'dve she'd've shouldve should've shouldnt shouldn't shouldnt've shouldn't've
shouldn'tve shouldn't've somebody'd somebodyd somebodyd've somebody'd've somebody'dve
somebody'd've somebodyll somebody'll somebodys somebody's someoned someone'd someoned've
someone'd've someone'dve someone'd've someonell someone'll someones someone's somethingd
something'd somethingd've something'd've something'dve something'd've somethingll something'll
thats that's thered there'd thered've there'd've there'dve there'd've therere there're theres
there's theyd they'd theyd've they'd've they'dve they'd've theyll they'll theyre they're theyve
they've twas 'twas wasnt wasn't wed've we'd've we'dve we'd've weve we've werent weren't whatll
what'll whatre what're whats what's whatve what've whens when's whered where'd wheres where's
whereve where've whod who'd whod've who'd've who'dve who'd've wholl who'll whos who's whove who've
whyll why'll whyre why're whys why's wont won't wouldve would've wouldnt wouldn't wouldnt've
wouldn't've wouldn'tve wouldn't've yall y'all yall'll y'all'll y'allll y'all'll yall'd've
y'all'd've y'alld've y'all'd've y'all'dve y'all'd've youd you'd youd've you'd've you'dve you'd've
youll you'll youre you're youve you've
"""

_words = _PAIRS.split()
CONTRACTIONS = dict(zip(_words[::2], _words[1::2], strict=True))

_FROM_ZERO = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NUMBERS = {"none": "0", **{word: str(i) for i, word in enumerate(_FROM_ZERO)}}

_ARTICLES = frozenset(("a", "an", "the"))
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_PERIOD = re.compile(r"(?!<=\d)(\.)(?!\d)")  # as published; the look-ahead never fails
_COMMA_M4C = re.compile(r"(?<=\d)(,)+(?=\d)")
_COMMA_VQA = re.compile(r"(\d)(,)(\d)")
_PERIODS = 32  # the evaluators pass re.UNICODE (32) where `re.sub` takes the count


def punctuation(text: str, comma: re.Pattern[str]) -> str:
    """Each mark vanishes when the text has it beside a space, or has a comma between digits; otherwise it
    becomes a space."""
    out = text
    between_digits = comma.search(text) is not None
    for mark in _PUNCTUATION:
        beside_space = f"{mark} " in text or f" {mark}" in text
        out = out.replace(mark, "" if beside_space or between_digits else " ")
    return _PERIOD.sub("", out, count=_PERIODS)


def digits_and_articles(text: str) -> str:
    """Lower case, number words as digits, no articles, apostrophes put back."""
    words = [NUMBERS.get(word, word) for word in text.lower().split()]
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def m4c(text: str) -> str:
    """The normaliser of M4C, TextVQA, VizWiz and lmms-eval."""
    text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    text = text.replace("\n", " ").replace("\t", " ").strip()
    return digits_and_articles(punctuation(text, _COMMA_M4C))


def vqa(text: str) -> str:
    """The normaliser of the VQA evaluation tools."""
    return digits_and_articles(punctuation(text, _COMMA_VQA))


def m4c_parts(text: str) -> str:
    """Punctuation and digits of the M4C normaliser, without its first steps (lmms-eval's VQAv2)."""
    return digits_and_articles(punctuation(text, _COMMA_M4C))


def clean(text: str) -> str:
    """Line breaks and tabs as spaces, ends stripped."""
    return text.replace("\n", " ").replace("\t", " ").strip()


def consensus(prediction: str, references: Sequence[str]) -> float:
    """VQA accuracy (Antol et al. 2015): min(1, matches / 3), averaged over leaving one reference out."""
    n = len(references)
    matches = sum(reference == prediction for reference in references)
    total = sum(min(1.0, (matches - (reference == prediction)) / 3) for reference in references)
    return total / n
