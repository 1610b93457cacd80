"""How an answer's tokens are drawn: OpenAI's fields, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from router.errors import InvalidRequest
from router.service.text import shown
from router.settings import Settings

MAX_STOPS = 4
MAX_STOP_CHARS = 256


@dataclass(frozen=True, slots=True)
class Sampling:
    """Temperature 0 is greedy, the only kind that a certificate may ever speak of."""

    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Greedy to the end, or to ``max_new_tokens``."""
        return self.temperature == 0 and not self.stop


def sampling_of(fields: dict[str, Any], settings: Settings) -> Sampling:
    """temperature, top_p, seed, stop and the two spellings of max_tokens. Raises `InvalidRequest`.

    Without a temperature decoding is greedy. More tokens than the operator allows are cut to that: clients
    ask for thousands by habit, and ``finish_reason`` tells when an answer was cut.
    """
    limits = [
        _whole(fields, name, 1, 2**31) or settings.max_new_tokens
        for name in ("max_tokens", "max_completion_tokens")
    ]
    temperature = _number(fields, "temperature", 0, 2)
    top_p = _number(fields, "top_p", 0, 1)
    if top_p == 0:  # nothing is left to draw from but the most likely token
        temperature, top_p = 0.0, None
    return Sampling(
        max_new_tokens=min(*limits, settings.max_new_tokens),
        temperature=0.0 if temperature is None else temperature,
        top_p=1.0 if top_p is None else top_p,
        seed=_whole(fields, "seed", -(2**63), 2**63 - 1),
        stop=_stops(fields.get("stop")),
    )


def _stops(value: Any) -> tuple[str, ...]:
    """One text or a list of them; each ends the answer before itself."""
    stops = [] if value is None else [value] if isinstance(value, str) else value
    if (
        not isinstance(stops, list)
        or len(stops) > MAX_STOPS
        or not all(isinstance(stop, str) and 0 < len(stop) <= MAX_STOP_CHARS for stop in stops)
    ):
        raise _invalid(
            "stop", value, f"a text of 1 to {MAX_STOP_CHARS} characters, or at most {MAX_STOPS} of them"
        )
    return tuple(stops)


def _whole(fields: dict[str, Any], name: str, low: int, high: int) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    if type(value) is not int or not low <= value <= high:
        raise _invalid(name, value, f"a whole number from {low} to {high}")
    return value


def _number(fields: dict[str, Any], name: str, low: float, high: float) -> float | None:
    value = fields.get(name)
    if value is None:
        return None
    if type(value) not in (int, float) or not low <= value <= high:  # NaN is in no range
        raise _invalid(name, value, f"a number from {low:g} to {high:g}")
    return float(value)


def _invalid(name: str, value: Any, valid: str) -> InvalidRequest:
    return InvalidRequest(
        f"{name} has value {shown(value)}. Valid: {valid}.", code=f"invalid_{name}", param=name
    )
