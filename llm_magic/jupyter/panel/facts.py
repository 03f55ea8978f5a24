"""The facts that the panel displays, in words and independent of the output format."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from llm_magic.budget import short_usd
from llm_magic.jupyter.render.facts import Badge, SessionFacts, Tone, column_name, run_cost, session_facts, total_cost
from llm_magic.jupyter.run import history
from llm_magic.jupyter.run.history import PastRun
from llm_magic.routing import Router
from llm_magic.types import ModelSpec

PROMPT_CHARS = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryFacts:
    number: str
    prompt: str
    facts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryColumn:
    name: str
    facts: tuple[str, ...]


def session(router: Router) -> SessionFacts:
    spent, held, cap = router.ledger.spent_usd, router.ledger.held_usd, router.budget.session_usd
    facts = session_facts(spent, cap)
    return replace(facts, text=f"{facts.text}, {short_usd(held)} held") if held else facts


def savings(router: Router) -> str:
    saved = router.ledger.saved_usd
    words = f"saved {short_usd(saved)}" if saved >= 0 else f"spent {short_usd(-saved)} more"
    count = sum(past.state.result is not None and not past.state.result.comparable for past in history.recent())
    not_comparable = f"; {count} answer{'s' * (count != 1)} not comparable" if count else ""
    return f"{words} against the top model{not_comparable}"


def providers(router: Router) -> list[Badge]:
    """Return each provider, with the reason if it is unavailable and with its models that are cooling down."""
    names = dict.fromkeys(model.provider for model in router.registry)
    return [_provider(router, name, [model for model in router.registry if model.provider == name]) for name in names]


def _provider(router: Router, name: str, models: list[ModelSpec]) -> Badge:
    if reason := router.unavailable(models[0]):
        return Badge(text=f"– {name}: {reason}", tone=Tone.NEUTRAL)
    problems: list[str] = []
    for model in models:
        circuit = router.circuit(model)
        if circuit.state == "open":
            until = datetime.now().astimezone() + timedelta(seconds=circuit.remaining_s)
            problem = circuit.account_problem or f"{model.id} cooling down"
            problems.append(f"{problem} until {until:%H:%M:%S}")
        elif circuit.state == "half_open":
            problems.append(f"{model.id} to be tried again")
    if problems:
        return Badge(text=f"✗ {name}: {'; '.join(dict.fromkeys(problems))}", tone=Tone.BAD)
    return Badge(text=f"✓ {name}: {len(models)} model{'s' * (len(models) > 1)}", tone=Tone.GOOD)


def run_entry(past: PastRun, *, with_rating: bool = True) -> EntryFacts:
    parent_id = past.request.parent_run_id
    parent = next((run.number for run in history.recent() if run.state.run_id == parent_id), None)
    rating = {1: "rated good", -1: "rated bad", None: ""}[past.rating if with_rating else None]
    facts = [
        past.model,
        str(past.tier or ""),
        _cost(past),
        past.state.ending,
        f"again of {parent}" if parent else "",
        rating,
        _time(past),
    ]
    return EntryFacts(
        number=str(past.number), prompt=short_prompt(past, PROMPT_CHARS), facts=tuple(filter(None, facts))
    )


def comparison_entry(runs: list[PastRun]) -> EntryFacts:
    numbers = f"{runs[0].number}–{runs[-1].number}" if len(runs) > 1 else str(runs[0].number)
    total = total_cost({str(past.number): past.state for past in runs})
    facts = ("comparison", total, _time(runs[0]))
    return EntryFacts(number=numbers, prompt=short_prompt(runs[0], PROMPT_CHARS), facts=facts)


def entry_column(past: PastRun, *, with_rating: bool = True) -> EntryColumn:
    assert past.column is not None
    result = past.state.result
    facts = [
        past.model if past.model != past.column.label else "",
        _cost(past) if result is not None or past.state.cost_usd else "",
        f"{result.latency_s:.1f} s" if result is not None else past.state.ending,
        "picked" if with_rating and past.rating == 1 else "",
    ]
    return EntryColumn(name=column_name(past.column.number, past.column.label), facts=tuple(filter(None, facts)))


def short_prompt(past: PastRun, max_chars: int) -> str:
    prompt = " ".join(past.request.prompt[:1_000].split())
    return prompt if len(prompt) <= max_chars else f"{prompt[: max_chars - 1]}…"


def _cost(past: PastRun) -> str:
    return run_cost(past.state) or "$0"


def _time(past: PastRun) -> str:
    return f"{past.at.astimezone():%H:%M}"
