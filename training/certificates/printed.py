"""What `m3-train certify` prints: certificates and simulations as tables for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from router.certificates import Certificate, Certificates
from router.constraints import DELTA
from router.instructions import told
from training.certificates.simulate import Simulated
from training.certificates.simulation import simulated, verdict


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title)
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("loss", "family", "policy") else "right")
    return table


def tell(found: Certificates, console: Console) -> None:
    """Those of all families, then of each, of one pass and of cascades; and the bounds on tokens."""
    for what, certificates in (("Certified", found.accuracy), ("Certified cascades", found.cascade)):
        whole = [c for c in certificates if not c.group]
        if not whole:
            continue
        headings = ("loss", "epsilon", "delta", "setting", "images", "bound", "visual tokens", "needed")
        table = _table(f"{what}, all families together", *headings)
        for certificate in whole:
            table.add_row(*_row(certificate))
        console.print(table)
        _tell_families(what, [c for c in certificates if c.group], console)
    for bounds in found.tokens:
        console.print(
            f"Mean visual tokens at delta {bounds.delta:g}: at most {bounds.bounds[0]:.4g} at the lowest "
            f"price of the bundle, {bounds.bounds[-1]:.4g} at the highest ({bounds.n_images} images).",
            soft_wrap=True,
            highlight=False,
        )
    kinds = found.instructions
    console.print(
        "No kinds of prompts are recorded: every prompt counts as one that certificates speak of."
        if kinds is None
        else f"Certificates speak of {told(kinds)}; prompts of another kind are certified of nothing.",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )


def _tell_families(what: str, certificates: Sequence[Certificate], console: Console) -> None:
    """The families' certificates at one delta; the manifest has all of them."""
    if not certificates:
        return
    delta = min({c.delta for c in certificates}, key=lambda d: abs(d - DELTA))
    epsilons = sorted({c.epsilon for c in certificates})
    table = _table(
        f"{what}, mean visual tokens by family: all at once at delta {delta:g}, shared (Bonferroni)",
        *("family", "images", "loss", *(f"epsilon {epsilon:g}" for epsilon in epsilons)),
    )
    cells = {(c.group, c.loss, c.epsilon): c for c in certificates if c.delta == delta}
    for family, loss in dict.fromkeys((c.group, c.loss) for c in certificates):
        row = [cells[family, loss, epsilon] for epsilon in epsilons]
        table.add_row(family, str(row[0].n_images), loss, *map(_in_short, row))
    console.print(table)


def _in_short(certificate: Certificate) -> str:
    if certificate.refused:
        return f"needs {certificate.smallest_n}"
    return "full scale" if certificate.setting is None else f"{certificate.visual_tokens:.1f}"


def _row(certificate: Certificate) -> tuple[str, ...]:
    setting = "refused" if certificate.refused else "full scale"
    if certificate.setting is not None:
        setting = f"{certificate.setting.price:.3g}"
        if certificate.setting.threshold is not None:
            setting += f", {certificate.setting.threshold:.3g}"
    return (
        certificate.loss,
        f"{certificate.epsilon:g}",
        f"{certificate.delta:g}",
        setting,
        str(certificate.n_images),
        f"{certificate.bound:.4f}",
        f"{certificate.visual_tokens:.1f}",
        str(certificate.smallest_n),
    )


def tell_simulated(rows: Sequence[Simulated], console: Console) -> None:
    """Every certificate, and how many hold."""
    shown = simulated(rows)
    table = _table(shown.caption, *shown.head)
    for row in shown.rows:
        table.add_row(*map(str, row))
    console.print(table)
    console.print(verdict(rows), highlight=False, soft_wrap=True)
