"""Replay of a ledger with other prices or other models: what the same requests would have cost.

The ledger keeps no text, so a request is its tier, confidence, tokens and hour. Lengths of answers are taken as
recorded, converted to the other model's own tokens.
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
from llm_magic.types import DEFAULT_QUALITY, ZERO, Attempt, Classification, ModelSpec, Outcome, TaskTier, Usage

_SEEN_BY_USER = (Outcome.OK, Outcome.CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """The cost of a ledger's answered runs, as paid and as replayed.

    runs: answered runs that the registry has models for. paid_usd: every attempt of them. answers_usd: the answering
    attempts. replayed_usd: the same answers by the models that the registry would choose. top_usd: by its baseline
    model. moved: number of runs by (model that answered, model that would answer).
    """

    runs: int
    left_out: int
    paid_usd: Decimal
    answers_usd: Decimal
    replayed_usd: Decimal
    top_usd: Decimal
    moved: Mapping[tuple[str, str], int]


def replay(
    rows: Iterable[Attempt],
    registry: Registry,
    *,
    quality: float = DEFAULT_QUALITY,
    known: Sequence[Registry] = (),
) -> Replayed:
    """Route each answered run of a ledger with a registry, at its prices.

    quality: as for the router. A run with confidence 1 was given its tier by the user, and keeps it.
    known: other registries that know the token ratios of the ledger's models.
    """
    ratios = {model.id: model.token_ratio for source in (*known, registry) for model in source}
    runs: dict[str, list[Attempt]] = {}
    for row in (row for row in rows if not row.is_shadow):
        runs.setdefault(row.run_id, []).append(row)
    paid = answers = replayed = top = ZERO
    moved: dict[tuple[str, str], int] = {}
    count = left_out = 0
    for attempts in runs.values():
        answer = next((row for row in attempts if row.outcome in _SEEN_BY_USER and row.usage.output_tokens), None)
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
    """Return the cheapest model for these tokens that is good enough; None if none has a price."""
    if answer.confidence == 1.0:
        may_lead = registry.first_choices(answer.tier) or (registry.baseline,)
    else:
        rest = (1.0 - answer.confidence) / (len(TaskTier) - 1)
        shares = {tier: answer.confidence if tier is answer.tier else rest for tier in TaskTier}
        classification = Classification(tier=answer.tier, confidence=answer.confidence, probabilities=shares)
        may_lead = good_enough(quality, classification, registry)
    priced: list[tuple[Decimal, ModelSpec]] = []
    for model in may_lead:
        try:
            priced.append((_cost(model, answer, ratios), model))
        except UnknownPrice:
            continue
    return min(priced, key=lambda pair: pair[0], default=(ZERO, None))[1]


def _cost(model: ModelSpec, answer: Attempt, ratios: Mapping[str, float]) -> Decimal:
    ratio = model.token_ratio / ratios.get(answer.model, 1.0)
    counts = {field.name: round(getattr(answer.usage, field.name) * ratio) for field in dataclasses.fields(Usage)}
    return prices.cost(model, Usage(**counts), answer.started_at).usd


def as_json(replayed: Replayed, profile: str) -> dict[str, Any]:
    fields = {field.name: getattr(replayed, field.name) for field in dataclasses.fields(replayed)}
    moved = [{"answered": was, "would": now, "runs": runs} for (was, now), runs in sorted(replayed.moved.items())]
    figures = {name: str(value) if isinstance(value, Decimal) else value for name, value in fields.items()}
    return {"profile": profile, **figures, "moved": moved}


def as_text(replayed: Replayed, profile: str) -> str:
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
    for (was, now), runs in sorted(replayed.moved.items(), key=lambda item: (-item[1], item[0])):
        lines.append(f"  {runs:>6,} runs  {was} " + ("stay" if was == now else f"→ {now}"))
    lines.append(
        "\nLengths are as recorded, in each model's own tokens. Whether the answers would have been as good is unknown."
    )
    return "\n".join(lines)
