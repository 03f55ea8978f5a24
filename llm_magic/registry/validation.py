"""What a spec must hold, wherever it comes from, and what is taken for granted where it says nothing."""

from __future__ import annotations

import dataclasses
import math
from decimal import Decimal
from typing import Any

from llm_magic.errors import RegistryError
from llm_magic.types import ModelSpec, Price, TaskTier

BEST_CAPABILITY = 2.2
"""In logits: nine good answers in ten to a typical prompt of its kind."""

CAPABILITY_STEP = 0.75
"""From one price role to the next, in logits: the mean of pairs of 2024 that were measured, 0.35 (gpt-4o-mini to
gpt-4o, mathematics and code), 0.7 (Mixtral to GPT-4, MMLU), 0.7 (Llama 3.1 8B to 70B, MMLU-Pro), 1.25 (Claude 3
Haiku to Claude 3.5 Sonnet, mathematics and code)."""

_REFUSED_BY_ANTHROPIC = {"temperature", "top_p", "top_k"}

_OURS = {
    "best_of",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "model",
    "n",
    "stream",
    "stream_options",
    "system",
}
"""Not for `params`: they are of each request, and money is held for what they say."""


def complete(model: ModelSpec, origin: str) -> ModelSpec:
    """The spec with what it leaves out filled in, checked."""
    where = f"{origin}: models.{model.id}"
    for key in ("context_window", "max_output_tokens"):
        whole(getattr(model, key), f"{where}.{key}")
    for key, known in (
        ("max_tokens_param", ("max_tokens", "max_completion_tokens")),
        ("json_mode", ("schema", "object", "none")),
    ):
        if getattr(model, key) not in known:
            raise RegistryError(f"{where}.{key} = {getattr(model, key)!r}: choose one of {', '.join(known)}")
    for key in ("provider", "api_model", "source", "capability_source"):
        if not isinstance(getattr(model, key), str):
            raise RegistryError(f"{where}.{key} = {getattr(model, key)!r} must be text")
    if isinstance(model.image_tokens, bool) or not isinstance(model.image_tokens, int) or model.image_tokens < 0:  # pyright: ignore[reportUnnecessaryIsInstance] - it comes from a file
        raise RegistryError(f"{where}.image_tokens = {model.image_tokens!r} must be a whole number of zero or more")
    if model.price is not None:
        for part in dataclasses.fields(Price):
            if (amount := getattr(model.price, part.name)) is not None:
                decimal_of(amount, f"{where}.price.{part.name}")
    if taken := _OURS & model.params.keys():
        raise RegistryError(f"{where}.params.{min(taken)}: it is set for each request, not for a model")
    if model.provider == "anthropic" and (refused := _REFUSED_BY_ANTHROPIC & model.params.keys()):
        raise RegistryError(f"{where}.params.{min(refused)}: Anthropic's models of today refuse it")
    for tier, logit in model.capability.items():
        if not math.isfinite(logit):
            raise RegistryError(f"{where}.capability.{tier} = {logit!r} must be a finite number")
    return dataclasses.replace(
        model,
        api_model=model.api_model or model.id,
        capability=model.capability or assumed_capability(model.tiers),
        capability_source=model.capability_source or ("stated" if model.capability else "assumed from its tiers"),
    )


def assumed_capability(tiers: tuple[TaskTier, ...]) -> dict[TaskTier, float]:
    """What is taken for granted of a model that nobody has measured.

    On the hardest tier that it serves, and on easier ones, it is as good as the best; on each harder one a step less
    good than on the one before. A model that serves none starts a step below them all.
    """
    kinds = list(TaskTier)
    hardest = min((kinds.index(tier) for tier in tiers), default=len(kinds))
    return {tier: BEST_CAPABILITY - CAPABILITY_STEP * max(0, hardest - place) for place, tier in enumerate(kinds)}


def decimal_of(value: Any, where: str) -> Decimal:
    """A finite amount >= 0 with at most six decimals, so that a token's price is exact in the ledger's units."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise RegistryError(f"{where} = {value!r} is not a number")
    amount = Decimal(value)
    if not amount.is_finite() or not 0 <= amount < 1_000_000:
        raise RegistryError(f"{where} = {value} must be a finite amount of zero or more, below a million")
    if amount != round(amount, 6):
        raise RegistryError(f"{where} = {value} has more than six decimals")
    return amount


def whole(value: Any, where: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise RegistryError(f"{where} = {value!r} must be a whole number above zero")
