"""``m3-train certify``: a bundle and the outcomes of ``certify`` -> certificates in the bundle's manifest."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from training.cli.refusal import refuse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from data.records import OutcomeTable
    from router.constraints import LossName
    from router.router import Router
    from training.certificates.grid import Grid
    from training.certificates.ordering import Order
    from training.certificates.played import Played
    from training.certificates.simulate import Simulated

WIDTH = 120
"""Columns of what is printed where there is no terminal to ask: no figure may be cut off."""


def command(
    bundle: Annotated[Path, typer.Option(help="Folder of the bundle; its manifest gets the certificates.")],
    outcomes: Annotated[
        Path | None,
        typer.Option(
            help="Folder with the table certify, or of one table; tune beside it orders what is tested. "
            "Default: those shipped for m3-tiny."
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
    any_prompt: Annotated[
        bool,
        typer.Option(
            "--any-prompt",
            help="Prompts of every kind count as known where the table has too many kinds to list.",
        ),
    ] = False,
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
    out: Annotated[
        Path | None, typer.Option(help="Folder for simulation.md and simulation.json of --simulate.")
    ] = None,
) -> None:
    """Certify settings of a router, and of its cascade if it has one, and write them into its bundle."""
    from dataclasses import replace

    from data.reading import SHIPPED_OUTCOMES
    from data.records import read_outcomes
    from router.errors import M3Error
    from router.router import Router
    from training.certificates.certify import SPLIT, certify
    from training.certificates.grid import DELTAS, EPSILONS, Grid
    from training.certificates.losses import held_to_the_word
    from training.certificates.printed import tell, tell_simulated
    from training.certificates.simulate import DRAWS
    from training.certificates.simulation import write_simulation
    from training.fit import outcomes_hash
    from training.report.provenance import of_command

    start = time.monotonic()
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    home = SHIPPED_OUTCOMES if outcomes is None else outcomes
    folder = home if (home / "manifest.json").is_file() else home / SPLIT
    try:
        grid = Grid(_losses(loss), tuple(epsilon or EPSILONS), tuple(delta or DELTAS))
        router = Router.load(bundle)
        table, tune = read_outcomes(folder), _tune(folder)
        if tune is None:
            console.print("There is no table of tune beside it: settings are tested in the order of prices.")
        if "agreement" in grid.losses and (strict := held_to_the_word(table)):
            console.print(
                f"{strict:,} questions have long answers of which the table does not say how likely the full "
                "scale's is at other scales: there every other wording disagrees. Tables say it that "
                "`m3-train label` has made with the torch engine, of all scales at once."
            )
        if simulate:
            rows = _simulate(
                router, table, tune, grid, families=families, images=images, draws=draws, seed=seed
            )
            tell_simulated(rows, console)
            if out is not None:
                options = {
                    "--draws": None if draws == DRAWS else draws,
                    "--images": images,
                    "--seed": seed or None,
                }
                provenance = {
                    **of_command(_words(folder, bundle, grid, options, out)),
                    "split": table.split,
                    "outcomes": outcomes_hash(folder),
                    "bundle": router.version,
                    "seed": seed,
                }
                written = write_simulation(rows, out, provenance)
                console.print(*map(str, written), highlight=False, soft_wrap=True)
            if not all(row.holds for row in rows):
                raise typer.Exit(1)
            return
        if out is not None:
            raise ValueError("--out is of --simulate: certificates are written into the bundle.")
        digest = outcomes_hash(folder)
        found = certify(
            router, table, grid, tune=tune, families=families, any_prompt=any_prompt, outcomes=digest
        )
        tell(found, console)
        if all(certificate.refused for certificate in (*found.accuracy, *found.cascade)):
            needed = min(c.smallest_n for c in (*found.accuracy, *found.cascade))
            raise ValueError(
                f"{len(table.image_ids)} images cannot certify anything that was asked for, even if they "
                f"lost nothing: at least {needed} are needed. Label more, or allow a larger epsilon or delta."
            )
        certified = replace(router.bundle, certificates=found)
        certified.write(bundle)
    except (ValueError, M3Error, OSError) as err:  # RecordError is a ValueError; messages have the remedy
        refuse(err)
    n = len(found.accuracy) + len(found.cascade)
    cascades = f" ({len(found.cascade)} of them of cascades)" if found.cascade else ""
    console.print(
        f"Bundle {certified.version} at {bundle}: {n} certificates{cascades} from "
        f"{len(table.image_ids)} images, {time.monotonic() - start:.0f} s.",
        soft_wrap=True,
        highlight=False,
    )


def _words(folder: Path, bundle: Path, grid: Grid, options: Mapping[str, int | None], out: Path) -> str:
    """The command line of a simulation on the table in ``folder``. options: that are not as usual."""
    from data.reading import SHIPPED_OUTCOMES
    from training.certificates.grid import Grid
    from training.cli.report import shown

    words = ["m3-train", "certify", "--simulate", "--bundle", shown(bundle)]
    if folder.resolve() != (SHIPPED_OUTCOMES / "certify").resolve():
        words += ["--outcomes", shown(folder)]
    usual = Grid()
    given: dict[str, Sequence[Any]] = {
        "--loss": () if grid.losses == usual.losses else grid.losses,
        "--epsilon": () if grid.epsilons == usual.epsilons else grid.epsilons,
        "--delta": () if grid.deltas == usual.deltas else grid.deltas,
        **{option: () if value is None else (value,) for option, value in options.items()},
    }
    words += [word for option, values in given.items() for value in values for word in (option, str(value))]
    return shlex.join([*words, "--out", shown(out)])


def _losses(names: Sequence[str] | None) -> tuple[LossName, ...]:
    from router.constraints import LOSSES

    known: dict[str, LossName] = {name: name for name in LOSSES}
    for name in names or ():
        if name not in known:
            raise ValueError(f"--loss has value {name!r}. Valid: {', '.join(LOSSES)}.")
    return tuple(known[name] for name in names or ("regret", "net"))


def _tune(certify: Path) -> OutcomeTable | None:
    """The table of tune beside ``certify``, if there is one."""
    from data.records import read_outcomes

    beside = certify.parent / "tune"
    if not (beside / "manifest.json").is_file() or beside.resolve() == certify.resolve():
        return None
    return read_outcomes(beside)


def _simulate(
    router: Router,
    table: OutcomeTable,
    tune: OutcomeTable | None,
    grid: Grid,
    *,
    families: bool,
    images: int | None,
    draws: int,
    seed: int,
) -> list[Simulated]:
    from router.certificates import FULL, Setting
    from training.certificates.bad import BAD, EDGE, just_above, reversed_scales
    from training.certificates.ordering import as_given
    from training.certificates.policies import policies, predict
    from training.certificates.replay import Replay
    from training.certificates.simulate import simulate, simulate_budgets, simulate_families
    from training.report.places import FINAL

    if FINAL in table.split.split("+"):
        raise ValueError(f"The split '{FINAL}' is opened by `m3-train report --final` only.")
    predictions = predict(router, table)
    edge = just_above(table, grid.epsilons)
    found: dict[str, tuple[Played, Order]] = {EDGE: (edge, as_given(edge, grid))}
    for name, said in ((router.bundle.candidate, predictions), (BAD, reversed_scales(predictions))):
        for policy in policies(router, said, table, grid, tune):
            found[f"{name}, cascade" if policy.cascade else name] = policy.replay, policy.order
    rows = simulate(found, grid, n_images=images, draws=draws, seed=seed)
    if families:
        rows += simulate_families(found, grid, n_images=images, draws=draws, seed=seed)
    prices = [FULL, *map(Setting, router.bundle.prices.prices)]
    spent = Replay.of(router, predictions, table, prices)
    name = router.bundle.candidate
    return rows + simulate_budgets(name, spent, grid.deltas, n_images=images, draws=draws, seed=seed)
