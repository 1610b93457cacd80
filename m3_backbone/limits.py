"""How long prompts and answers may be: in positions, and in bytes of cached keys. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from m3_backbone.types import KvBudgetExceeded, PromptTooLong


@dataclass(frozen=True, slots=True)
class Limits:
    """context_tokens: positions of the language model. prompt_tokens: of a prompt, at most.

    kv_bytes: keys and values of one token. kv_budget_bytes: of everything that runs together; None: no limit.
    """

    context_tokens: int
    prompt_tokens: int
    kv_bytes: int
    kv_budget_bytes: int | None = None

    @classmethod
    def of(
        cls,
        config: Mapping[str, Any],
        context_tokens: int,
        kv_bytes: int,
        *,
        prompt_tokens: int | None,
        kv_budget_bytes: int | None,
    ) -> Limits:
        """config: config.json; its ``tokenizer_model_max_length``, where the reference cuts, is the prompt's
        limit unless another is asked for. Raises ValueError for a limit that no request could keep to."""
        if prompt_tokens is None:
            named = config.get("tokenizer_model_max_length")
            named = named if isinstance(named, int) and named > 0 else context_tokens
            prompt_tokens = min(context_tokens, named)
        elif not 1 <= prompt_tokens <= context_tokens:
            raise ValueError(
                f"prompt_limit is {prompt_tokens}; it must be 1 to {context_tokens}, the model's positions."
            )
        if kv_budget_bytes is not None and kv_budget_bytes < kv_bytes:
            raise ValueError(f"kv_budget_bytes is {kv_budget_bytes}; one token takes {kv_bytes} bytes.")
        return cls(context_tokens, prompt_tokens, kv_bytes, kv_budget_bytes)

    def within(self, context_tokens: int) -> Limits:
        """These, of a model that may be run on fewer positions."""
        return replace(
            self,
            context_tokens=min(self.context_tokens, context_tokens),
            prompt_tokens=min(self.prompt_tokens, context_tokens),
        )

    def check(self, *, text: int, visual: int, new: int) -> None:
        """Raises `PromptTooLong` (or `KvBudgetExceeded`) with the numbers; all are counts of tokens."""
        total = text + visual
        if total > self.prompt_tokens:
            raise PromptTooLong(
                f"The prompt has {total} tokens ({visual} visual, {text} text); "
                f"the model takes at most {self.prompt_tokens}. Ask for less, or choose a smaller scale."
            )
        if total + new > self.context_tokens:
            raise PromptTooLong(
                f"The prompt has {total} tokens and {new} new ones are asked for; "
                f"the context holds {self.context_tokens}. Lower max_new_tokens or the scale."
            )
        needed = (total + new - 1) * self.kv_bytes  # nobody attends to the last new token
        if self.kv_budget_bytes is not None and needed > self.kv_budget_bytes:
            raise KvBudgetExceeded(
                f"The prompt has {total} tokens and {new} new ones are asked for: their KV cache takes "
                f"{needed} bytes, the budget is {self.kv_budget_bytes}. Lower max_new_tokens or the scale."
            )
