"""Why a scale was chosen, in words for a person: `Decision.reason`."""

from __future__ import annotations

from router.certificates import Certificate
from router.constraints import Constraints
from router.targets import Target

HOPELESS = 0.25
"""Below this highest expected score a small one is no oddity of the scale: none would answer."""


def chosen(
    target: Target, constraints: Constraints, *, score: float, highest: float, tokens: int, full: int
) -> str:
    """The reason of a decision that neither a forced scale nor a fallback made.

    score, tokens: expected score and visual tokens of the scale that was chosen. highest: the highest
    expected score of the scales that floor and ceiling leave. full: this request's tokens at the full scale.
    """
    if target.full is not None:
        asked = f"{target.asked}: " if target.asked else ""
        return f"{asked}the largest scale allowed, because {target.full}{_limits(constraints)}"
    return f"{promise(target, full)}{_trade(target.price, score, highest, tokens)}{_limits(constraints)}"


def promise(target: Target, full: int) -> str:
    """What was asked for and what is proven of it, for what follows; "" for a price."""
    asked = f"{target.asked}: " if target.asked else ""
    if target.certificate is None:
        return asked
    return f"{asked}{_certificate(target.certificate, full, target.silent)}; "


def worth(price: float, tokens: int) -> str:
    """What ``tokens`` more visual tokens were weighed at."""
    weighed = f" at {price:.3g} per token" if price > 0 else ", which have no price"
    return f"worth {tokens} more visual tokens{weighed}"


def _trade(price: float, score: float, highest: float, tokens: int) -> str:
    here = f"expected score {score:.3f} for {tokens} visual tokens"
    if price > 0:
        hopeless = f", where no scale is expected to score above {highest:.3f}" if highest < HOPELESS else ""
        return f"{here} is the best trade at {price:.3g} per token{hopeless}"
    if score >= highest:
        return f"no price: {here} is the highest expected score"
    # Below 0 a token earns a little: the path to the full scale ends in such prices.
    return f"no price: {here}, as it prefers larger scales; a smaller one is expected to score {highest:.3f}"


def _certificate(found: Certificate, full: int, silent: str) -> str:
    means = f"{found.visual_tokens:.4g} visual tokens on average, {full} at the full scale"
    bound = f"{found.loss} at most {found.epsilon:.3g}, from {found.n_images} images, {means}"
    setting = f"a setting that is not certified of {silent}" if silent else "the certified setting"
    return f"{setting} ({bound})"


def _limits(constraints: Constraints) -> str:
    words = []
    if constraints.min_scale is not None:
        words.append(f"at least scale {constraints.min_scale}")
    if constraints.max_scale is not None:
        words.append(f"at most scale {constraints.max_scale}")
    if constraints.max_visual_tokens is not None:
        words.append(f"at most {constraints.max_visual_tokens} visual tokens")
    return f", {' and '.join(words)}" if words else ""
