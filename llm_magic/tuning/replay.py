"""The user's own ledger under other prices or another set of models: what the same requests would have cost.

The ledger keeps no text, so a request is what its row says of it: tier, confidence, tokens, hour. Other models would
have answered at other lengths; lengths are taken as they were, in the other model's own tokens.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from llm_magic import prices
from llm_magic.budget import show_usd
from llm_magic.errors import UnknownPrice
from llm_magic.plan import good_enough
from llm_magic.registry import Registry
from llm_magic.types import DEFAULT_QUALITY, ZERO, Attempt, Classification, ModelSpec, TaskTier, Usage

ANSWERED = ("ok", "cancelled")
"""Outcomes of attempts that somebody read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a ledger came to, and what it would have."""

    runs: int
    """Those that were answered, and that the registry has models for."""
    left_out: int
    paid_usd: Decimal
    """For these runs, every attempt of them."""
    answers_usd: Decimal
    """For the attempts that answered alone."""
    replayed_usd: Decimal
    """For the same answers by the models that the registry would have chosen."""
    top_usd: Decimal
    """By the registry's baseline model alone."""
    moved: Mapping[tuple[str, str], int]
    """Runs by the model that answered and the model that would have."""


def replay(
    rows: Iterable[Attempt],
    registry: Registry,
    *,
    quality: float = DEFAULT_QUALITY,
    known: Sequence[Registry] = (),
) -> Replayed:
    """Route each answered run of a ledger by a registry, at its prices.

    quality: the router's dial. A run that was sure of its tier (confidence 1) was told it, and stays within it.
    known: registries that know how many tokens the models of the ledger make of a text, beside the one replayed.
    """
    ratios = {model.id: model.token_ratio for one in (*known, registry) for model in one}
    runs: dict[str, list[Attempt]] = {}
    for row in rows:
        runs.setdefault(row.run_id, []).append(row)
    paid = answers = replayed = top = ZERO
    moved: dict[tuple[str, str], int] = {}
    count = left_out = 0
    for attempts in runs.values():
        answer = next((row for row in attempts if row.outcome in ANSWERED and row.usage.output_tokens), None)
        chosen = None if answer is None else _leader(answer, registry, ratios, quality)
        if answer is None or chosen is None:
            left_out += 1
            continue
        count += 1
        paid += sum((row.cost_usd for row in attempts), ZERO)
        answers += answer.cost_usd
        replayed += _cost(chosen, answer, ratios)
        top += _cost(registry.baseline, answer, ratios)
        moved[answer.model, chosen.id] = moved.get((answer.model, chosen.id), 0) + 1
    return Replayed(
        runs=count,
        left_out=left_out,
        paid_usd=paid,
        answers_usd=answers,
        replayed_usd=replayed,
        top_usd=top,
        moved=moved,
    )


def _leader(answer: Attempt, registry: Registry, ratios: Mapping[str, float], quality: float) -> ModelSpec | None:
    """The cheapest model for just these tokens that is good enough, as a plan chooses it; None: none has a price."""
    if answer.confidence == 1.0:
        may_lead = registry.serving(answer.tier) or (registry.baseline,)
    else:
        rest = (1.0 - answer.confidence) / (len(TaskTier) - 1)
        shares = {tier: answer.confidence if tier is answer.tier else rest for tier in TaskTier}
        read = Classification(tier=answer.tier, confidence=answer.confidence, probabilities=shares)
        may_lead = good_enough(quality, read, registry)
    priced: list[tuple[Decimal, ModelSpec]] = []
    for model in may_lead:
        try:
            priced.append((_cost(model, answer, ratios), model))
        except UnknownPrice:
            continue
    return min(priced, key=lambda each: each[0], default=(ZERO, None))[1]


def _cost(model: ModelSpec, answer: Attempt, ratios: Mapping[str, float]) -> Decimal:
    """What the exchange costs on a model, each kind of token counted by that model's tokenizer."""
    ratio = model.token_ratio / ratios.get(answer.model, 1.0)
    counts = {part.name: round(getattr(answer.usage, part.name) * ratio) for part in dataclasses.fields(Usage)}
    return prices.cost(model, Usage(**counts), answer.started_at).usd


def as_json(replayed: Replayed, profile: str) -> dict[str, Any]:
    """Everything, for a program. USD as text, exact."""
    fields = {part.name: getattr(replayed, part.name) for part in dataclasses.fields(replayed)}
    moved = [{"answered": was, "would": now, "runs": runs} for (was, now), runs in sorted(replayed.moved.items())]
    told = {name: str(value) if isinstance(value, Decimal) else value for name, value in fields.items()}
    return {"profile": profile, **told, "moved": moved}


def as_text(replayed: Replayed, profile: str) -> str:
    """What a person reads."""

    def share(amount: Decimal) -> str:
        return f"  ({amount / replayed.answers_usd:.0%} of that)" if replayed.answers_usd else ""

    lines = [
        f"{replayed.runs:,} answered runs, replayed with the models and prices of profile {profile!r}"
        + (f" ({replayed.left_out:,} without an answer left out)" if replayed.left_out else ""),
        "",
        f"  paid, every attempt       {show_usd(replayed.paid_usd)}",
        f"  paid for the answers      {show_usd(replayed.answers_usd)}",
        f"  replayed, same answers    {show_usd(replayed.replayed_usd)}{share(replayed.replayed_usd)}",
        f"  on the top model alone    {show_usd(replayed.top_usd)}{share(replayed.top_usd)}",
        "",
    ]
    for (was, now), runs in sorted(replayed.moved.items(), key=lambda each: (-each[1], each[0])):
        lines.append(f"  {runs:>6,} runs  {was} " + ("stay" if was == now else f"→ {now}"))
    lines.append(
        "\nLengths are as recorded, in each model's own tokens. Whether the answers would have been as good is unknown."
    )
    return "\n".join(lines)
