"""``m3-train certify``: a bundle and the outcomes of ``certify`` -> certificates in the bundle's manifest."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from data.records import OutcomeTable
    from router.certificates import Certificate, Certificates
    from router.constraints import LossName
    from router.router import Router
    from training.certificates.grid import Grid
    from training.certificates.simulate import Simulated


def command(
    bundle: Annotated[Path, typer.Option(help="Folder of the bundle; its manifest gets the certificates.")],
    outcomes: Annotated[
        Path | None,
        typer.Option(
            help="Folder with the table certify, or of one table. Default: those shipped for m3-tiny."
        ),
    ] = None,
    loss: Annotated[
        list[str] | None,
        typer.Option(
            help="regret, net or agreement; may be given several times.", show_default="regret, net"
        ),
    ] = None,
    epsilon: Annotated[
        list[float] | None,
        typer.Option(
            help="Loss that is allowed; may be given several times.", show_default="0.005 to 0.1, six of them"
        ),
    ] = None,
    delta: Annotated[
        list[float] | None,
        typer.Option(
            help="Chance of a certificate that is wrong; may be given several times.",
            show_default="0.01, 0.05, 0.1",
        ),
    ] = None,
    families: Annotated[
        bool, typer.Option(help="Certificates of each family of questions too (Bonferroni).")
    ] = True,
    simulate: Annotated[
        bool,
        typer.Option(
            "--simulate",
            help="Change nothing: draw calibration sets from the table, count certificates that are wrong.",
        ),
    ] = False,
    draws: Annotated[int, typer.Option(min=10, help="Calibration sets of --simulate.")] = 1000,
    images: Annotated[
        int | None,
        typer.Option(min=1, help="Images in each of them.", show_default="as many as the table has"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of --simulate.")] = 0,
) -> None:
    """Certify settings of a router, and of its cascade if it has one, and write them into its bundle."""
    from dataclasses import replace

    from data.records import read_outcomes
    from router.errors import M3Error
    from router.router import Router
    from training.certificates.certify import SPLIT, certify
    from training.certificates.grid import DELTAS, EPSILONS, Grid
    from training.fit import outcomes_hash, shipped_outcomes

    start = time.monotonic()
    console = Console()
    home = shipped_outcomes() if outcomes is None else outcomes
    folder = home if (home / "manifest.json").is_file() else home / SPLIT
    try:
        grid = Grid(_losses(loss), tuple(epsilon or EPSILONS), tuple(delta or DELTAS))
        router = Router.load(bundle)
        table = read_outcomes(folder)
        if simulate:
            rows = _simulate(router, table, grid, images=images, draws=draws, seed=seed)
            _tell_simulated(rows, console)
            return
        found = certify(router, table, grid, families=families, outcomes=outcomes_hash(folder))
        _tell(found, console)
        if all(certificate.refused for certificate in (*found.accuracy, *found.cascade)):
            needed = min(c.smallest_n for c in (*found.accuracy, *found.cascade))
            raise ValueError(
                f"{len(table.image_ids)} images cannot certify anything that was asked for, even if they "
                f"lost nothing: at least {needed} are needed. Label more, or allow a larger epsilon or delta."
            )
        certified = replace(router.bundle, certificates=found)
        certified.write(bundle)
    except (ValueError, M3Error, OSError) as err:  # RecordError is a ValueError; messages have the remedy
        Console(stderr=True).print(f"Error: {err}", markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    n = len(found.accuracy) + len(found.cascade)
    cascades = f" ({len(found.cascade)} of them of cascades)" if found.cascade else ""
    console.print(
        f"Bundle {certified.version} at {bundle}: {n} certificates{cascades} from "
        f"{len(table.image_ids)} images, {time.monotonic() - start:.0f} s.",
        soft_wrap=True,
        highlight=False,
    )


def _losses(names: Sequence[str] | None) -> tuple[LossName, ...]:
    from router.constraints import LOSSES

    known: dict[str, LossName] = {name: name for name in LOSSES}
    for name in names or ():
        if name not in known:
            raise ValueError(f"--loss has value {name!r}. Valid: {', '.join(LOSSES)}.")
    return tuple(known[name] for name in names or ("regret", "net"))


def _simulate(
    router: Router, table: OutcomeTable, grid: Grid, *, images: int | None, draws: int, seed: int
) -> list[Simulated]:
    from training.certificates.certify import predict, replays
    from training.certificates.simulate import BAD, reversed_scales, simulate
    from training.report.places import FINAL

    if FINAL in table.split.split("+"):
        raise ValueError(f"The split '{FINAL}' is opened by `m3-train report --final` only.")
    predictions = predict(router, table)
    bad = replays(router, table, reversed_scales(predictions))
    policies = replays(router, table, predictions) | {
        name.replace(router.bundle.candidate, BAD, 1): replay for name, replay in bad.items()
    }
    return simulate(policies, grid, n_images=images, draws=draws, seed=seed)


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title)
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("loss", "family", "policy") else "right")
    return table


def _tell(found: Certificates, console: Console) -> None:
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


def _tell_families(what: str, certificates: Sequence[Certificate], console: Console) -> None:
    """The families' certificates at one delta; the manifest has all of them."""
    from router.constraints import DELTA

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


def _tell_simulated(rows: Sequence[Simulated], console: Console) -> None:
    n, draws = rows[0].n_images, rows[0].draws
    table = _table(
        f"{draws} calibration sets of {n} images, drawn with replacement",
        "policy",
        "loss",
        "epsilon",
        "delta",
        "violations",
        "at least",
        "tokens",
        "if known",
        "full only",
    )
    for row in rows:
        table.add_row(
            row.policy,
            row.loss,
            f"{row.epsilon:g}",
            f"{row.delta:g}",
            f"{row.rate:.3f}",
            f"{row.low:.4f}" + ("" if row.holds else " !"),
            f"{row.tokens:.1f}",
            f"{row.known:.1f}",
            f"{row.nothing:.3f}",
        )
    console.print(table)
    broken = [row for row in rows if not row.holds]
    if broken:
        console.print(f"{len(broken)} of {len(rows)} certificates are violated more often than delta allows.")
        raise typer.Exit(1)
    console.print(
        f"All {len(rows)} hold: the lower 95% limit of the rate of violations is at most delta.",
        highlight=False,
    )
