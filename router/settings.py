"""The one place where the environment is read: a frozen `Settings`, prefix ``M3_``.

Everything else is handed its values. Command-line options win over the environment, which wins over the
defaults below.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from m3_backbone.scales import Ladder
from m3_backbone.vllm_client import computed_in, is_vllm, parse_options
from router.constraints import DELTA, LOSS, LossName
from router.errors import M3Error
from router.image_hosts import parse_image_hosts

PREFIX = "M3_"

MIB = 1024 * 1024

_SECRET = frozenset({"api_keys"})
_KEY = re.compile(r"[!-+\--~]{8,256}")  # printable ASCII without the comma


class SettingsError(M3Error):
    """A setting that cannot be used; the message names the variable, its value and the remedy."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="invalid_setting", status=500)


class Settings(BaseSettings):
    """Every knob of the service. Immutable; make another one to change a value.

    backbone: ``tiny`` (embedded) or an M3 checkpoint: a folder or a hub name.
    bundle: ``embedded`` (the router of m3-tiny), ``none`` (every request at the full scale), or a folder.
    engine: ``torch`` runs the checkpoint; ``vllm`` runs its language model in vLLM, ``vllm+http://HOST:PORT``
        in one that runs elsewhere; ``fake`` is deterministic, without weights, for trying the API.
    vllm: vLLM's options with spaces between them, as in ``tensor_parallel_size=2 enforce_eager=true``.
    cache_dir: where the language model is kept for vLLM; unset, ``~/.cache/m3-router``.
    fake_token_s: seconds that the fake engine takes for each token of a batch, to try loads on.
    compile: torch.compile; the first requests are slow, and answers agree with the plain model to rounding.
    kv_budget_bytes: keys and values cached at any time; larger batches run in portions, larger requests are
        refused. prompt_limit: tokens of a prompt; unset, what the checkpoint names.
    ladder: scales with commas, to which a plain LLaVA is pooled without training; M3 names its own.
    reducer: how a grid becomes fewer tokens: M3's average pooling, or one of the paper's baselines, which is
        another backbone to every bundle.
    api_keys: a list with commas; whoever asks must send one of them. Unset, anybody may ask.
    allowed_hosts: a list with commas of names that the header Host may hold, ``*`` for any. Unset: any, but
        `m3-router serve` on a loopback address takes that machine's own names only.
    rate_limit: requests in a minute of each API key (of all together when there are no keys); unset, any.
    max_in_flight: requests in hand at once, those whose body is still coming included.
    queue_tokens: visual and new tokens of all requests that wait or run; unset, any number.
    image_hosts: a list with commas of the names from which images by address are fetched; unset, none are.
    max_images: images in one chat; each is routed by itself.
    max_items: questions in one body of ``/v1/answers``.
    detail_high: what an image of ``detail: high`` in a chat gets: ``route`` (as ``auto``) or ``full`` scale.
    token_budget, price, accuracy_drop: what a request that asks for nothing gets; unset, the bundle's own
    default.
    cascade: whether answers are looked at and given again at a larger scale where that pays: ``true``, as the
    bundle has learned, or a number below which an answer's tokens are too unlikely (`router.constraints`).
    stream_buffer: tokens of an answer that a cascade's stream holds back at most (`router.service.showing`).
    delta, loss: of every accuracy drop that does not name its own (`router.constraints`).
    keep_alive_s: a connection stays open for so long after an answer: longer than a proxy keeps it, which
        else asks on one that is just being closed.
    stall_s: a model that is silent for so long is taken for hung; after twice as long it is started again.
    give_up_s: the service ends when its engine was not ready for so long, for whoever starts it again; unset,
    it stays and refuses.
    watch_share: of the requests that ask for nothing, which are answered again at all scales in idle time.
    watch_min_agreement: of routed answers with the full scale's, below which there is an alarm.
    decision_log: a folder for Parquet files; of decision_log_bytes together, then the oldest are removed.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True, allow_inf_nan=False
    )

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    backbone: str = Field(default="tiny", min_length=1)
    bundle: str = Field(default="embedded", min_length=1)
    engine: str = "torch"
    vllm: str | None = None
    cache_dir: Path | None = None
    fake_token_s: float = Field(default=0.0, ge=0, le=10)
    device: str = "cpu"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    conversation: str | None = None
    vision_tower: str | None = None
    ladder: str | None = None
    compile: bool = False
    kv_budget_bytes: int | None = Field(default=None, ge=1)
    prompt_limit: int | None = Field(default=None, ge=1)
    reducer: Literal["average", "spatial", "sequential"] = "average"

    api_keys: SecretStr | None = None
    allowed_hosts: str | None = None
    rate_limit: int | None = Field(default=None, ge=1)
    max_in_flight: int = Field(default=256, ge=1)

    detail_high: Literal["route", "full"] = "route"
    token_budget: float | None = Field(default=None, gt=0)
    price: float | None = Field(default=None, ge=0)
    accuracy_drop: float | None = Field(default=None, gt=0, lt=1)
    delta: float = Field(default=DELTA, gt=0, lt=1)
    loss: LossName = LOSS
    cascade: bool | float = False
    stream_buffer: int = Field(default=16, ge=1, le=4096)

    batch_size: int = Field(default=8, ge=1, le=1024)
    queue_size: int = Field(default=64, ge=1, le=100_000)
    queue_tokens: int | None = Field(default=None, ge=1)
    max_new_tokens: int = Field(default=32, ge=1, le=4096)
    image_cache_bytes: int = Field(default=256 * MIB, ge=0)

    max_body_bytes: int = Field(default=20 * MIB, ge=1024)
    max_images: int = Field(default=4, ge=1, le=64)
    max_items: int = Field(default=32, ge=1, le=1024)
    max_question_chars: int = Field(default=4096, ge=1)
    max_image_pixels: int = Field(default=40_000_000, ge=1, le=80_000_000)
    image_hosts: str | None = None
    image_fetch_timeout_s: float = Field(default=10.0, gt=0)
    head_timeout_s: float = Field(default=10.0, gt=0)
    keep_alive_s: int = Field(default=65, ge=1, le=3600)
    body_timeout_s: float = Field(default=30.0, gt=0)
    request_timeout_s: float = Field(default=60.0, gt=0)
    route_timeout_s: float = Field(default=1.0, gt=0)
    drain_timeout_s: float = Field(default=30.0, gt=0)
    stall_s: float = Field(default=120.0, gt=0)
    give_up_s: float | None = Field(default=None, gt=0)

    watch_share: float = Field(default=0.0, ge=0, le=1)
    watch_min_agreement: float | None = Field(default=None, gt=0, le=1)

    decision_log: Path | None = None
    decision_log_bytes: int = Field(default=1024 * MIB, ge=MIB)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "text"

    @field_validator("api_keys")
    @classmethod
    def _sound_keys(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not all(_KEY.fullmatch(key) for key in _split(value)):
            raise ValueError("Give keys of 8 to 256 printable ASCII characters, with commas between them")
        return value

    @field_validator("image_hosts")
    @classmethod
    def _sound_image_hosts(cls, value: str | None) -> str | None:
        parse_image_hosts(value)
        return value

    @field_validator("engine")
    @classmethod
    def _known_engine(cls, value: str) -> str:
        if value not in ("torch", "fake") and not is_vllm(value):
            raise ValueError("Take torch, vllm, vllm+http://HOST:PORT or fake")
        return value

    @field_validator("vllm")
    @classmethod
    def _sound_vllm(cls, value: str | None) -> str | None:
        parse_options(shlex.split(value or ""))
        return value

    @field_validator("ladder")
    @classmethod
    def _sound_ladder(cls, value: str | None) -> str | None:
        if value is not None:
            Ladder.from_text(value)
        return value

    @field_validator("cascade")
    @classmethod
    def _sound_cascade(cls, value: bool | float) -> bool | float:
        if not isinstance(value, bool) and not 0 < value < 1:
            raise ValueError("Give true, false or a number above 0 and below 1")
        return value

    @property
    def vllm_options(self) -> dict[str, object]:
        """vLLM's engine arguments."""
        return parse_options(shlex.split(self.vllm or ""))

    @property
    def computed_in(self) -> str:
        """What answers are computed in, as certificates say it: ``dtype``, and what vLLM is told beside."""
        told = self.vllm and is_vllm(self.engine)
        return computed_in(self.dtype, self.vllm_options) if told else self.dtype

    @property
    def keys(self) -> tuple[str, ...]:
        """The API keys; empty when anybody may ask."""
        return () if self.api_keys is None else _split(self.api_keys)

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        named = [n for n in ("token_budget", "price", "accuracy_drop") if getattr(self, n) is not None]
        if len(named) > 1:
            *first, last = (PREFIX + name.upper() for name in named)
            both = "both" if len(named) == 2 else "all"
            raise ValueError(f"{', '.join(first)} and {last} are {both} set. Set one of them")
        if type(self.cascade) is not bool and (
            self.accuracy_drop is not None or self.token_budget is not None
        ):
            raise ValueError(
                "M3_CASCADE is a threshold, which keeps neither M3_ACCURACY_DROP nor M3_TOKEN_BUDGET. Set it "
                "to true, or set one of them"
            )
        return self

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Settings from ``overrides`` (those that are not None), then the environment, then the defaults.

        Raises `SettingsError` with one sentence per value that cannot be used.
        """
        given = {name: value for name, value in overrides.items() if value is not None}
        try:
            return cls(**given)
        except ValidationError as error:
            raise SettingsError(" ".join(_sentence(item) for item in error.errors())) from None


def _sentence(error: Mapping[str, Any]) -> str:
    if not error["loc"]:
        return f"{error['msg'].removeprefix('Value error, ')}."
    name = PREFIX + str(error["loc"][0]).upper()
    reason = error["msg"].removeprefix("Value error, ").rstrip(".")
    if str(error["loc"][0]) in _SECRET:
        return f"{name} cannot be used. {reason}."
    return f"{name} has value {str(error['input'])!r}. {reason}."


def _split(keys: SecretStr) -> tuple[str, ...]:
    return tuple(key.strip() for key in keys.get_secret_value().split(","))


ELSEWHERE = ("M3_DATA_DIR",)
"""Variables with our prefix that the offline side reads."""


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """One sentence per variable with our prefix that no setting reads - most often a typing error."""
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    sentences = []
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known and name not in ELSEWHERE:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            sentences.append(f"{name} is set, but no setting has that name.{hint}")
    return sentences
