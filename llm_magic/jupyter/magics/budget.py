"""`%route_budget`: the caps as its options state them, and where they stand, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from llm_magic.budget import Budget, show_usd, usd
from llm_magic.errors import BudgetError
from llm_magic.routing import Router


def change(router: Router, args: Any) -> None:
    """Set the caps that the options name; the others stay. Raises BudgetError, and then none is changed."""
    budget = router.budget
    caps: dict[str, Any] = {
        f"{scope}_usd": _amount(asked)
        for scope, asked in (("session", args.amount), ("run", args.run), ("day", args.day), ("month", args.month))
        if asked is not None
    }
    if args.model:
        caps["models_usd"] = _named(args.model, budget.models_usd, "--model ID=USD")
    if args.tag:
        caps["tags_usd"] = _named(args.tag, budget.tags_usd, "--tag WORD=USD")
    if caps:
        router.set_budget(**caps)


def stands(router: Router) -> Iterator[str]:
    """Where the session and each cap stand, a line each; then what is uncertain and what to do about it."""
    ledger, budget = router.ledger, router.budget
    spent, held = ledger.spent_usd, ledger.held_usd
    cap = budget.session_usd
    left = "no cap" if cap is None else f"cap {show_usd(cap)}, {show_usd(max(cap - spent - held, Decimal(0)))} left"
    yield f"session {ledger.session_id}: spent {show_usd(spent)}, held {show_usd(held)}, {left}"
    if budget.run_usd is not None:
        yield f"each run: {show_usd(budget.run_usd)} at the most"
    for room in ledger.headroom(_standing_caps(budget)):
        yield f"{room.cap}: {show_usd(max(room.left_usd, Decimal(0)))} left"
    if uncertain := ledger.uncertain():
        total = sum((held for _, held in uncertain), Decimal(0))
        yield (
            f"uncertain: {len(uncertain)} attempt{'s' * (len(uncertain) > 1)} of a process that died, holding "
            f"{show_usd(total)}. Whether they were billed, the provider knows: %route_budget --reconcile charge counts "
            "them as spent, --reconcile release as never billed"
        )


def reconcile(router: Router, how: Any) -> str:
    """Close what is uncertain, on the user's word, and say so."""
    closed = router.ledger.reconcile(how)
    if not closed:
        return "nothing is uncertain"
    done = "counted as spent" if how == "charge" else "counted as never billed"
    return f"{len(closed)} uncertain attempt{'s' * (len(closed) > 1)} {done}"


def _standing_caps(budget: Budget) -> Sequence[Any]:
    """Every cap that outlives a run, but for the session's."""
    found = {
        cap: None
        for model in budget.models_usd or ("",)
        for cap in budget.caps(model=model, tags=tuple(budget.tags_usd))
        if cap.scope not in ("run", "session")
    }
    return tuple(found)


def _amount(asked: str) -> Decimal | None:
    return None if asked.lower() == "off" else usd(asked)


def _named(asked: Sequence[str], now: Mapping[str, Decimal], usage: str) -> dict[str, Decimal]:
    """The caps by name, with `NAME=USD` set and `NAME=off` taken away."""
    caps = dict(now)
    for each in asked:
        name, equals, amount = each.strip("\"'").rpartition("=")
        if not equals or not name:
            raise BudgetError(f"{each!r}: write {usage}, such as {usage.replace('USD', '0.50')}")
        if (limit := _amount(amount)) is None:
            caps.pop(name, None)
        else:
            caps[name] = limit
    return caps
