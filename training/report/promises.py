"""A report's sentence about certificates: what is promised, and of which setting."""

from __future__ import annotations

from collections.abc import Sequence

from router.certificates import Certificate
from router.constraints import LossName
from training.report.analysis import Report
from training.report.certified import Certified, covering
from training.report.formats import number, percent


def certificate(report: Report) -> str:
    """What is promised of the router, and of which setting."""
    full = report.evaluation.scales[-1]
    router = report.inputs.router
    if router is None or not (router.bundle.certificates.accuracy or router.bundle.certificates.cascade):
        return "No accuracy drop of this router is certified: m3-train certify does that."
    if not report.certified:
        return (
            f"Certified is nothing cheaper than scale {full}: too few images, or too much lost, on certify."
        )
    first = report.certified[0].certificate
    sure = (
        f"with probability {percent(1 - first.delta, 0)} over the {first.n_images:,} images of certify, and "
        f"for images like them, against scale {full}"
    )
    asked = report.inputs.asked
    if asked is not None:
        at = covering(router.bundle.certificates, asked)
        return f"Certified: {sure} {_bound('a mean', at)}."
    told = [_promise(group) for group in _by_loss(report.certified)]
    return f"Certified, each by itself: {sure} {', '.join(told)}. {_above(report)}"


def _above(report: Report) -> str:
    """Whether the operating point is a setting that was certified, and for how little."""
    price = None if report.operating is None else report.operating.target
    same = [
        each.certificate
        for each in report.certified
        if not each.cascade
        and each.certificate.setting is not None
        and each.certificate.setting.price == price
    ]
    if not same:
        return "The setting above is not one of those that were certified."
    least = {c.loss: _bound("a mean", c) for c in sorted(same, key=lambda c: (c.loss, -c.epsilon))}
    return f"The setting above is certified, too: {' and '.join(least.values())}."


def _by_loss(certified: Sequence[Certified]) -> list[list[Certified]]:
    groups: dict[tuple[str, bool], list[Certified]] = {}
    for each in certified:
        groups.setdefault((each.certificate.loss, each.cascade), []).append(each)
    return list(groups.values())


def _promise(group: Sequence[Certified]) -> str:
    """Of those of one loss the one that is nearest to a point."""
    shown = min(group, key=lambda each: abs(each.certificate.epsilon - 0.01))
    what = "the hybrid's mean" if shown.cascade else "a mean"
    bound = _bound(what, shown.certificate)
    return f"{bound} with {number(shown.visual_tokens.value)} visual tokens"


def _bound(what: str, certificate: Certificate) -> str:
    loss = loss_name(certificate.loss)
    return f"{what} {loss} of at most {in_points(certificate.epsilon)}"


def loss_name(loss: LossName) -> str:
    return {"regret": "regret", "net": "net loss", "agreement": "disagreement"}[loss]


def in_points(share: float) -> str:
    return f"{100 * share:g} point{'' if round(100 * share, 9) == 1 else 's'}"
