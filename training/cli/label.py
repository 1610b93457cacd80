"""``m3-train label``: a backbone and a data set -> an outcome table; an interrupted run continues."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Task as RichTask
from rich.text import Text

from m3_backbone.types import KvBudgetExceeded, PromptTooLong
from training.cli.refusal import refuse
from training.cli.summary import summary, unreadable_images

if TYPE_CHECKING:
    from data.records import OutcomeTable
    from m3_backbone import M3Model
    from m3_backbone.vllm import VllmBackbone
    from training.label import Tally
    from training.ray_labelling import Known
    from training.shards import EmptyPart


RESUME = "To resume: the same command continues where it stopped."


def command(
    context: typer.Context,
    dataset: Annotated[
        str,
        typer.Option(
            help="NAME:SPLIT, NAME:FILE or a file; @SPLIT at its end keeps that split. See docs/data.md."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the table; a run begun there is continued.")],
    backbone: Annotated[str, typer.Option(help="Checkpoint folder, hub name, or 'tiny'.")] = "tiny",
    limit: Annotated[int | None, typer.Option(min=1, help="Label at most so many samples.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    conversation: Annotated[
        str | None, typer.Option(help="Conversation template; the checkpoint names its own.")
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compile", help="torch.compile; answers agree with the plain model to rounding.")
    ] = False,
    kv_budget: Annotated[
        int | None, typer.Option(min=1, help="Bytes of keys and values cached at any time.")
    ] = None,
    prompt_limit: Annotated[
        int | None, typer.Option(min=1, help="Tokens of a prompt at most; the checkpoint names its own.")
    ] = None,
    reducer: Annotated[
        str, typer.Option(help="average (M3's), or the paper's baselines spatial and sequential.")
    ] = "average",
    ladder: Annotated[
        str | None,
        typer.Option(
            help="Scales that a plain LLaVA checkpoint is pooled to without training, as in 1,9,36,144,576."
        ),
    ] = None,
    vision_tower: Annotated[
        str | None,
        typer.Option(help="CLIP's folder or hub name, where the checkpoint's own does not resolve."),
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Tokens of an answer at most.")] = 16,
    data_dir: Annotated[
        Path | None,
        typer.Option(envvar="M3_DATA_DIR", help="Folder of the data sets that are named by split."),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(help="I/N: label part I of N, on one of N machines; merge with m3-train merge."),
    ] = None,
    scales: Annotated[
        str | None,
        typer.Option(
            help="Some scales only, as in 9,36,576; tables of other scales merge with m3-train merge."
        ),
    ] = None,
    skip_duplicates: Annotated[
        bool,
        typer.Option("--skip-duplicates", help="Leave out rows whose id came before, instead of stopping."),
    ] = False,
    shard_images: Annotated[int, typer.Option(min=1, help="Images per shard: what a kill can cost.")] = 250,
    batch_images: Annotated[int, typer.Option(min=1, help="Images whose questions run together.")] = 8,
    ray: Annotated[
        bool,
        typer.Option("--ray", help="On a Ray cluster: that of RAY_ADDRESS, or one of this machine."),
    ] = False,
    engine: Annotated[
        str, typer.Option(help="'torch'; 'vllm', or 'vllm+http://HOST:PORT' for one that runs elsewhere.")
    ] = "torch",
    vllm: Annotated[
        list[str] | None,
        typer.Option("--vllm", help="An option of vLLM's. May be repeated.", metavar="NAME=VALUE"),
    ] = None,
    cache_dir: Annotated[
        Path | None,
        typer.Option(envvar="M3_CACHE_DIR", help="Where the language model is kept for vLLM."),
    ] = None,
    engines: Annotated[
        int | None,
        typer.Option(
            "--ray-engines", min=1, help="Models that label at once; one on each GPU or, on CPUs, machine."
        ),
    ] = None,
) -> None:
    """Answer every question at every scale, once, and write the outcome table."""
    from data.sources import Skipped, load
    from data.unreadable import NAME, write_unreadable
    from m3_backbone import EngineError, load_backbone
    from m3_backbone.prompt import CONVERSATIONS
    from m3_backbone.scales import Ladder
    from m3_backbone.vllm_client import computed_in, parse_options
    from router.errors import M3Error
    from router.ray_cluster import Share, cluster
    from training.cli.vllm import with_vllm
    from training.interrupt import Interrupt, Stopped
    from training.label import Settings, label, label_by
    from training.parts import Part
    from training.prefetch import PrefetchError
    from training.ray_labelling import ClusterError, Engines, Known, on_ray
    from training.shards import EmptyPart
    from training.some_scales import parse_scales, some_of

    console = Console(stderr=True, highlight=False, markup=False)
    try:
        part = None if shard is None else Part.parse(shard)
        asked = None if scales is None else parse_scales(scales)
        skipped = Skipped(duplicates=skip_duplicates)
        samples = load(dataset, data_dir, limit, skipped)
        loading = partial(
            load_backbone,
            backbone,
            dtype=dtype,
            device=device,
            conversation=conversation,
            reducer=reducer,
            ladder=None if ladder is None else Ladder.from_text(ladder),
            vision_tower=vision_tower,
            kv_budget_bytes=kv_budget,
            prompt_limit=prompt_limit,
            compiled=compiled,
        )
        model: M3Model | VllmBackbone | Known
        work: Callable[..., OutcomeTable]
        if engine != "torch":
            if ray or compiled:
                refuse(f"--engine {engine} does not go with --ray or --compile.")
            model = with_vllm(loading, engine, vllm or (), cache_dir)
            context.call_on_close(model.close)
            work = partial(label, model)
        elif vllm:
            refuse("--vllm is for --engine vllm.")
        elif ray:
            home = Engines(loading, Share.of(context.with_resource(cluster()), device, engines))
            model = home.ask(Known.of)
            work = partial(label_by, model, on_ray(home, model))
        else:
            model = loading()
            work = partial(label, model)
        labelled = some_of(model.ladder, asked)
    except (M3Error, ValueError) as error:  # SourceError, CheckpointError, LabelError: they have the remedy
        refuse(error)
    settings = Settings(
        prompt=next(name for name, template in CONVERSATIONS.items() if template == model.template),
        dtype=computed_in(dtype, parse_options(list(vllm or ()))),
        reducer=reducer,
        compiled=compiled,
        engine=engine.partition("+")[0],
        max_new_tokens=max_new_tokens,
        shard_images=shard_images,
        batch_images=batch_images,
        part=part,
        scales=asked,
    )
    interrupt = Interrupt(f"Stopping when the shard in flight is done; Ctrl-C once more loses it. {RESUME}")
    with interrupt.listening(), _progress(console) as progress:
        task = progress.add_task("reading the data set", total=None, accuracy="")

        def show(tally: Tally) -> None:
            if progress.tasks[task].total is None:  # the first: what is here already is not progress
                for sentence in skipped.sentences():
                    console.print(sentence)
                progress.reset(task, total=tally.total, completed=tally.resumed, description="labelling")
            scores = " ".join(
                f"{scale}:{accuracy:.3f}"
                for scale, accuracy in zip(labelled, tally.accuracy, strict=True)
                if tally.done
            )
            progress.update(task, completed=tally.done, accuracy=scores)

        try:
            made: OutcomeTable | EmptyPart
            try:
                made = work(samples, out, settings, show, lambda: interrupt.asked, skipped)
            except EmptyPart as empty:  # that is finished, too
                made = empty
            again = load(dataset, data_dir, limit, Skipped(duplicates=skip_duplicates))
            write_unreadable(out, again, unreadable_images(made))
        except Stopped as done:
            progress.stop()
            console.print(f"Stopped: {done}, in whole shards in {out}. {RESUME}")
            raise typer.Exit(130) from None
        except KeyboardInterrupt:
            progress.stop()
            console.print(f"Interrupted; the shard in flight is lost. Finished shards are in {out}. {RESUME}")
            raise typer.Exit(130) from None
        except PromptTooLong as error:  # the same command would stop there again
            progress.stop()
            refuse(
                f"{error} {_remedy(error, prompt_limit, max_new_tokens)} Finished shards in {out} are kept."
            )
        except (OSError, PrefetchError, EngineError, ClusterError) as error:  # not the user's doing
            progress.stop()
            console.print(f"Stopped: {error}\nFinished shards are in {out}. {RESUME}")
            raise typer.Exit(1) from None
        except ValueError as error:
            progress.stop()
            refuse(error)
    if isinstance(made, EmptyPart):
        console.print(f"{made} Its questions are in {out / NAME}.")
    else:
        Console().print(summary(made, out))


def _remedy(error: PromptTooLong, prompt_limit: int | None, max_new_tokens: int) -> str:
    """Which option to change where a question does not fit at one of the scales, all of which are asked."""
    option = None
    if isinstance(error, KvBudgetExceeded):
        option = "--kv-budget"
    elif prompt_limit is not None:
        option = "--prompt-limit"
    if option is not None:
        return f"Every scale is labelled: give a larger {option}, or none, and the run continues."
    return (
        f"Every scale is labelled, with room for {max_new_tokens} new tokens (--max-new-tokens): leave that "
        "question out of the data set, or label the scales at which it fits (--scales) into another folder."
    )


class _Rate(ProgressColumn):
    """Samples per second of this run."""

    def render(self, task: RichTask) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "")


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[accuracy]}"),
        console=console,
        speed_estimate_period=120,
    )
