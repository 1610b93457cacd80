"""Options that several verbs share. None means: not given here, so the environment or the default counts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Backbone = Annotated[
    str | None,
    typer.Option(help="'tiny' (embedded) or an M3 checkpoint: a folder or a hub name.", show_default="tiny"),
]
BundleOption = Annotated[
    str | None,
    typer.Option(
        "--bundle",
        help="'embedded' (the router of m3-tiny), 'none' (always the full scale), or a folder.",
        show_default="embedded",
    ),
]
EngineOption = Annotated[
    str | None,
    typer.Option(
        "--engine",
        help="'torch'; 'vllm', or 'vllm+http://HOST:PORT' for one that runs elsewhere; 'fake': no weights, "
        "made-up answers.",
        show_default="torch",
    ),
]
VllmOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--vllm",
        help="An option of vLLM's, as in tensor_parallel_size=2. May be repeated.",
        metavar="NAME=VALUE",
    ),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, ...", show_default="cpu")]
Dtype = Annotated[str | None, typer.Option(help="float32, bfloat16 or float16.", show_default="float32")]
Compile = Annotated[
    bool | None,
    typer.Option(
        "--compile/--no-compile",
        help="torch.compile: slow first requests, answers equal to rounding only.",
        show_default="no",
    ),
]
KvBudget = Annotated[
    int | None,
    typer.Option(help="Bytes of keys and values cached at any time.", show_default="no limit"),
]
PromptLimit = Annotated[
    int | None, typer.Option(help="Tokens of a prompt at most.", show_default="the checkpoint's")
]
VisionTower = Annotated[
    str | None,
    typer.Option(help="Folder or hub name of the vision tower.", show_default="the checkpoint's"),
]
Scales = Annotated[
    str | None,
    typer.Option(
        "--ladder",
        help="Scales that a plain LLaVA checkpoint is pooled to without training, as in 1,9,36,144,576.",
        show_default="the checkpoint's",
    ),
]
Reducer = Annotated[
    str | None,
    typer.Option(
        help="How a grid is reduced: average (M3's), spatial or sequential (the paper's baselines).",
        show_default="average",
    ),
]
OnRay = Annotated[
    bool,
    typer.Option("--ray", help="As replicas on a Ray cluster: that of RAY_ADDRESS, or one of this machine."),
]
Replicas = Annotated[
    int | None,
    typer.Option(
        min=1, help="With --ray: models that answer at once.", show_default="one on each GPU, or machine"
    ),
]
Image = Annotated[Path, typer.Argument(help="A JPEG, PNG, WEBP or GIF file.", metavar="IMAGE")]
MoreImages = Annotated[
    list[Path] | None,
    typer.Option(
        "--image",
        help="One more image of the same prompt, such as the next frame of a clip. May be repeated.",
        metavar="IMAGE",
    ),
]
Question = Annotated[str, typer.Argument(help="What to ask about it.", metavar="QUESTION")]
Scale = Annotated[int | None, typer.Option(help="Force this scale instead of routing.")]
MinScale = Annotated[int | None, typer.Option(help="Never below this scale.")]
MaxTokens = Annotated[
    int | None, typer.Option("--max-visual-tokens", help="Never more visual tokens than this.")
]
Budget = Annotated[float | None, typer.Option("--token-budget", help="Mean visual tokens per request.")]
Drop = Annotated[
    float | None,
    typer.Option(
        "--accuracy-drop",
        help="Expected loss against the full scale, as certified; a fraction, 0.01 is one point. Snaps "
        "down to a step that `m3-router doctor` lists.",
    ),
]
Delta = Annotated[
    float | None,
    typer.Option(help="Chance that a certificate is wrong.", show_default="0.05 with --accuracy-drop"),
]
Loss = Annotated[
    str | None,
    typer.Option(help="Of --accuracy-drop: regret, net or agreement.", show_default="regret"),
]
Cascade = Annotated[
    bool | None,
    typer.Option(
        "--cascade/--no-cascade",
        help="Look at the answer, and answer again at a larger scale where that pays.",
        show_default="M3_CASCADE, or no",
    ),
]
CascadeBelow = Annotated[
    float | None,
    typer.Option(
        "--cascade-below",
        help="The same without a model: where the answer's tokens are less likely than this on average, a "
        "probability.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]
