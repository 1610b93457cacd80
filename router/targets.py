"""What the constraints of a request come down to: a price, and whether it is a certified one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from router.certificates import FULL_PRICE, Certificate, Certificates
from router.constraints import DELTA, LOSS, Constraints, LossName, PolicyName
from router.instructions import told
from router.prices import Prices


@dataclass(frozen=True, slots=True)
class Target:
    """price: per visual token; for a forced scale 0, which nobody pays. asked: the target in words, or "".

    full: why the largest scale allowed is taken instead, or None. certified: the price is that of a
    certificate which speaks of such requests. certificate: of an accuracy drop, the one whose price it is.
    silent: what that does not speak of, or "".
    """

    policy: PolicyName
    price: float
    asked: str = ""
    full: str | None = None
    certified: bool = False
    certificate: Certificate | None = None
    silent: str = ""


def resolve(constraints: Constraints, prices: Prices, certificates: Certificates) -> Target:
    """The target of ``constraints``. Raises `ConstraintError` for a token budget that no price keeps."""
    if constraints.scale is not None:
        return Target("fixed", 0.0)
    if constraints.token_budget is not None:
        return _token_budget(constraints.token_budget, constraints, prices, certificates)
    if constraints.accuracy_drop is not None:
        return _accuracy_drop(constraints.accuracy_drop, constraints, certificates)
    return Target("utility", prices.default if constraints.price is None else constraints.price)


def _token_budget(
    tokens: float, constraints: Constraints, prices: Prices, certificates: Certificates
) -> Target:
    asked = f"token budget {tokens:g}"
    bounds = None if constraints.delta is None else certificates.token_bounds(constraints.delta)
    if bounds is None:
        unproven = "" if constraints.delta is None else ", on average for want of a certified bound"
        return Target("token_budget", prices.for_budget(tokens), f"{asked}{unproven}")
    price = replace(prices, mean_tokens=bounds.bounds).for_budget(tokens)
    silent = silent_of(certificates, constraints)
    asked += f" (delta {bounds.delta:g})" + (f", not certified of {silent}" if silent else "")
    return Target("token_budget", price, asked, certified=not silent, silent=silent)


def _accuracy_drop(epsilon: float, constraints: Constraints, certificates: Certificates) -> Target:
    loss = LOSS if constraints.loss is None else constraints.loss
    delta = DELTA if constraints.delta is None else constraints.delta
    asked = f"accuracy drop {epsilon:g} ({loss}, delta {delta:g})"

    def full(why: str) -> Target:
        return Target("accuracy_drop", FULL_PRICE, asked, full=why)

    if constraints.kind != "question":
        return full("certificates speak of one question about one image")
    if not certificates.know(constraints.instruction):
        return full(f"certificates speak of {told(certificates.instructions or ())} alone")
    found = certificates.covering(loss, epsilon, delta)
    if found is None:
        return full(f"no certificate of this router covers that{_known(certificates, loss)}")
    asked += _snapped(epsilon, delta, found)
    if found.setting is None:
        n = f"{found.n_images} images"
        if found.refused:
            lost = f"cannot certify a drop of {found.epsilon:g} even if they lose nothing"
            return full(f"{n} {lost}, {found.smallest_n} are needed")
        return full(f"nothing cheaper passed for a drop of {found.epsilon:g} on {n}")
    if found.setting.threshold is not None:
        return full("what is certified is a cascade: ask for it with cascade true")
    silent = silent_of(certificates, constraints)
    return Target(
        "accuracy_drop",
        found.setting.price,
        asked,
        certified=not silent,
        certificate=found,
        silent=silent,
    )


def _snapped(epsilon: float, delta: float, found: Certificate) -> str:
    """What became of the request's own numbers; "" where they are those of the certificate."""
    steps = []
    if found.epsilon != epsilon:
        steps.append(f"from {epsilon:g} to {found.epsilon:g}")
    if found.delta != delta:
        steps.append(f"from delta {delta:g} to {found.delta:g}")
    return f", snapped {' and '.join(steps)}" if steps else ""


def _known(certificates: Certificates, loss: LossName) -> str:
    """Which ones there are of that loss; "" for none."""
    steps = certificates.steps().get(loss)
    return "" if steps is None else f": it has them of {loss} for {told_steps(*steps)}"


def told_steps(epsilons: Iterable[float], deltas: Iterable[float]) -> str:
    """What drops are certified for, in words."""
    of, at = (", ".join(f"{value:g}" for value in values) for values in (epsilons, deltas))
    return f"{of} at delta {at}"


def silent_of(certificates: Certificates, constraints: Constraints) -> str:
    """What was not certified of a request like this, "" where all was: greedy, one question about one image,
    of a kind that the calibration had, no floor or ceiling, its dtype, and at least as many new tokens as its
    answers had."""
    if constraints.dtype not in (None, certificates.dtype):
        return f"answers in {constraints.dtype}, only in {certificates.dtype}"
    limits = (constraints.scale, constraints.min_scale, constraints.max_scale, constraints.max_visual_tokens)
    longest = constraints.max_new_tokens
    spoken_of = (
        constraints.greedy
        and constraints.kind == "question"
        and certificates.know(constraints.instruction)
        and all(limit is None for limit in limits)
        and (longest is None or longest >= certificates.max_new_tokens)
    )
    return "" if spoken_of else "such requests"
