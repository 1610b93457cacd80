"""``m3-train compare``: every candidate on the same outcome tables, with intervals over images and seeds."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training.cli.refusal import refuse


def command(
    out: Annotated[Path, typer.Option(help="Folder for compare.html, compare.md and compare.json.")],
    outcomes: Annotated[
        Path | None, typer.Option(help="Folder of outcome tables, one per split. Default: m3-tiny's.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split to compare on.")] = "dev",
    folds: Annotated[
        int, typer.Option(min=0, help="Compare on this many folds by image of router-train instead.")
    ] = 0,
    final: Annotated[
        bool, typer.Option("--final", help="Open the test split; the opening is logged for good.")
    ] = False,
    replicate: Annotated[
        list[Path] | None,
        typer.Option(
            help="Table of the same samples, other pixels; may be given several times. "
            "Default: SPLIT+1, SPLIT+2 and so on beside the table, as far as they are there."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Training seeds per candidate, from 0 on.")] = 5,
    candidate: Annotated[
        list[str] | None, typer.Option(help="Compare these alone; may be given several times.")
    ] = None,
    main: Annotated[
        str | None, typer.Option(help="Whom differences are to. Default: the first that is compared.")
    ] = None,
    ablate: Annotated[
        bool, typer.Option("--ablate", help="Fit that one without each group of route inputs, too.")
    ] = False,
    learning: Annotated[
        bool, typer.Option("--learning-curve", help="Fit that one on fractions of router-train, too.")
    ] = False,
    simulate: Annotated[
        bool,
        typer.Option(
            "--simulate",
            help="Certify everyone on 1,000 calibration sets from the compared table, count errors.",
        ),
    ] = False,
    also_test: Annotated[
        bool,
        typer.Option(
            "--also-test",
            help="Let every fit choose scales for the test split, too, none of whose scores is looked at: "
            "with the same --fits, --final then scores them without fitting anew.",
        ),
    ] = False,
    fits: Annotated[
        Path | None, typer.Option(help="Folder of the fits' results, to go on with. Default: OUT/fits.")
    ] = None,
    refit: Annotated[
        list[str] | None,
        typer.Option(help="Fit this candidate anew, because its code has changed; several times."),
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0.0, max=0.99, help="Score below the best that is still sufficient.")
    ] = 0.0,
    threads: Annotated[int, typer.Option(min=1, help="Fits that run side by side, one process each.")] = 2,
    draws: Annotated[int, typer.Option(min=100, help="Bootstrap draws, by image and seed.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
) -> None:
    """Compare candidates. Interrupt and call again: it goes on where it was, new candidates included."""
    from data.reading import SHIPPED_OUTCOMES
    from training.candidates import candidates
    from training.candidates.base import by_name
    from training.certificates.simulate import DRAWS
    from training.cli.report import shown
    from training.comparing.comparison import Wanted, compare
    from training.comparing.fits import Fits
    from training.comparing.fitting import Fitter
    from training.comparing.tables import load_tables
    from training.comparing.words import headline
    from training.comparing.write import write_comparison
    from training.report.openings import default_log, record_opening
    from training.report.places import FINAL
    from training.report.provenance import collect

    start = time.monotonic()
    console = Console(stderr=True, highlight=False)

    def told(line: str) -> None:
        console.print(f"{time.monotonic() - start:6.0f} s  {line}", markup=False, soft_wrap=True)

    everyone = candidates()
    words = ["m3-train", "compare"]
    for option, path in (("--outcomes", outcomes), ("--fits", fits)):
        words += [] if path is None else [option, shown(path)]
    words += [word for one in replicate or () for word in ("--replicate", shown(one))]
    words += ["--final"] if final else [] if split == "dev" else ["--split", split]
    words += [word for name in candidate or () for word in ("--candidate", name)]
    words += [] if main is None else ["--main", main]
    words += ["--ablate"] * ablate + ["--learning-curve"] * learning + ["--simulate"] * simulate
    words += ["--also-test"] * also_test
    for option, value, usual in (
        ("--folds", folds, 0),
        ("--seeds", seeds, 5),
        ("--tolerance", tolerance, 0.0),
        ("--draws", draws, 1000),
        ("--seed", seed, 0),
    ):
        words += [] if value == usual else [option, str(value)]
    try:
        named = tuple(by_name(name, everyone) for name in dict.fromkeys(candidate or ()))
        for option, name in [("--main", main), *(("--refit", name) for name in refit or ())]:
            if name is not None and named and by_name(name, everyone) not in named:
                raise ValueError(
                    f"{option} {name} is not among those that are compared, which are "
                    f"{', '.join(one.name for one in named)}: add --candidate {name}, or leave {option} out."
                )
        if also_test and (final or folds):
            raise ValueError("--also-test goes with a --split: leave it out beside --final and --folds.")
        tables = load_tables(
            SHIPPED_OUTCOMES if outcomes is None else outcomes,
            FINAL if final else split,
            final=final,
            folds=folds,
            replicates=replicate or (),
        )
        chosen = named or everyone
        also = (tables.on_test(),) if also_test else ()
        lacking = dict.fromkeys(split for each in (tables, *also) for split in each.without_finer)
        finer = [one.name for one in chosen if "fine" in one.groups] if lacking else []
        if finer:
            lack = (
                f"finer pooled tokens, which {', '.join(lacking)} came without: `make grids` "
                "makes those of m3-tiny's tables, `m3-train grids` those of others"
            )
            if named or main in finer:
                raise ValueError(
                    f"{', '.join(finer)} cannot be fitted, for it reads {lack}. Or leave it out."
                )
            told(f"Without {', '.join(finer)}, for it reads {lack}.")
            chosen = tuple(one for one in chosen if one.name not in finer)
        wanted = Wanted(
            candidates=chosen,
            main=by_name(main, chosen).name if main is not None else chosen[0].name,
            seeds=seeds,
            ablate=ablate,
            learning=learning,
            simulate=DRAWS if simulate else 0,
            again=tuple(by_name(name, chosen).name for name in refit or ()),
        )
        command = shlex.join([*words, "--out", shown(out)])
        provenance = collect(tables.inputs, command=command, draws=draws, seed=seed)
        if final:
            # Logged before the numbers exist: an opening that then fails has still been one.
            log = default_log()
            times = record_opening(provenance, log)
            told(f"Opening {times} of the test split, logged in {shown(log)}: commit that file.")
        fitter = Fitter(
            tables,
            Fits(out / "fits" if fits is None else fits),
            tolerance=tolerance,
            processes=threads,
            also=also,
        )
        comparison = compare(fitter, wanted, provenance, draws=draws, seed=seed, told=told)
        written = write_comparison(comparison, out)
    except KeyboardInterrupt:
        console.print("Stopped; finished fits are kept. Go on with the same command.")
        raise typer.Exit(130) from None
    except (ValueError, OSError) as error:  # RecordError is a ValueError; messages have the remedy
        refuse(error)
    for failure in comparison.failures:
        console.print(f"Not fitted: {failure.label}: {failure.error}", markup=False, soft_wrap=True)
    fitted = {row.name: row.seeds for row in comparison.standings.rows}
    unfinished = [one.name for one in named if len(fitted.get(one.name, ())) < seeds]
    Console().print(
        f"{headline(comparison)}\n{', '.join(map(str, written))} ({time.monotonic() - start:.0f} s)",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )
    if unfinished:
        refuse(f"{', '.join(unfinished)} was named and could not be fitted with every seed: see above.")
