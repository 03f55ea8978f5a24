"""The actions of `%route_budget`: change caps, show them, and reconcile uncertain attempts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from IPython.core.error import UsageError

from llm_magic.budget import AMOUNT, WARNING_SHARES, Budget, Cap, show_moment, show_usd, usd
from llm_magic.errors import BudgetError
from llm_magic.routing import Router
from llm_magic.types import SHADOW_TAG

_MAX_SHOWN = 10


def change(router: Router, args: Any) -> None:
    """Set the caps that the options name. Raises UsageError or BudgetError, and then no cap is changed."""
    budget = router.budget
    caps: dict[str, Any] = {
        f"{scope}_usd": _amount(text, "AMOUNT" if scope == "session" else f"--{scope}")
        for scope, text in (
            ("session", args.amount),
            ("run", args.run),
            ("day", args.day),
            ("month", args.month),
            ("shadow", args.shadow),
        )
        if text is not None
    }
    if args.model:
        caps["models_usd"] = _assigned(args.model, budget.models_usd, "--model", "ID")
    if args.tag:
        caps["tags_usd"] = _assigned(args.tag, budget.tags_usd, "--tag", "WORD")
    if caps:
        router.set_budget(**caps)


def status_lines(router: Router, shadow_share: float | None = None) -> Iterator[str]:
    """Yield a line for the session and for each cap, and one for uncertain attempts with the next step.

    shadow_share: the notebook's own, in place of the router's.
    """
    ledger, budget = router.ledger, router.budget
    spent, held = ledger.spent_usd, ledger.held_usd
    cap = budget.session_usd
    limit = "no cap" if cap is None else f"cap {show_usd(cap)}, {_left(cap - spent - held)}"
    yield f"session {ledger.session_id}: spent {show_usd(spent)}, held {show_usd(held)}, {limit}"
    if shadow_line := _shadow_line(router, shadow_share):
        yield shadow_line
    if budget.run_usd is not None:
        yield f"each run: {show_usd(budget.run_usd)} at most"
    for headroom in router.headroom(_lasting_caps(budget)):
        is_limiting = headroom.left_usd <= headroom.cap.limit_usd * (1 - WARNING_SHARES[0])
        yield f"{headroom.cap}: {_left(headroom.left_usd)}{headroom.when_free if is_limiting else ''}"
    for warning in ledger.warnings:
        yield f"warning: {warning}"
    if uncertain := ledger.uncertain():
        total = sum((held for _, held in uncertain), Decimal(0))
        yield (
            f"uncertain: {len(uncertain)} attempt{'s' * (len(uncertain) > 1)} of a process that died, holding "
            f"{show_usd(total)}. Check your provider's bill: %route_budget --reconcile charge counts "
            "them as spent, --reconcile release as never billed"
        )


def _left(usd: Decimal) -> str:
    return f"{show_usd(usd)} left" if usd >= 0 else f"already passed by {show_usd(-usd)}"


def _shadow_line(router: Router, share: float | None) -> str:
    """Return what shadow runs have cost and may cost; empty if none were made and none are wanted or capped."""
    cap_usd = router.budget.shadow_usd
    is_set = cap_usd != Budget().shadow_usd
    cap = Cap(scope="shadow", limit_usd=Decimal(0) if cap_usd is None else cap_usd, key=SHADOW_TAG)
    (headroom,) = router.headroom([cap])
    used = cap.limit_usd - headroom.left_usd
    if not used and not is_set and not (router.shadowing.share if share is None else share):
        return ""
    left = "no cap of their own" if cap_usd is None else f"cap {show_usd(cap_usd)}, {_left(headroom.left_usd)}"
    problem = f". The last one was not made: {router.shadows.last_problem}" if router.shadows.last_problem else ""
    return f"shadow runs: spent and held {show_usd(used)}, {left}{problem}"


def reconcile(router: Router, how: Any) -> str:
    """Close the uncertain attempts and return a message. how: `charge` or `release`."""
    closed = router.ledger.reconcile(how)
    done = "counted as spent" if how == "charge" else "counted as never billed"
    lines = [f"{len(closed)} uncertain attempt{'s' * (len(closed) > 1)} {done}" if closed else "nothing is uncertain"]
    leased = router.ledger.leased()
    lines += [
        f"left alone: attempt {hold.attempt.attempt} of run {hold.attempt.run_id}, holding {show_usd(hold.held_usd)}. "
        "Its process is on another machine or in another container and may still run. If it does not renew its lease, "
        f"the attempt can be reconciled from {show_moment(hold.until)}"
        for hold in leased[:_MAX_SHOWN]
    ]
    if len(leased) > _MAX_SHOWN:
        lines.append(f"and {len(leased) - _MAX_SHOWN:,} more such attempts")
    return "\n".join(lines)


def _lasting_caps(budget: Budget) -> Sequence[Any]:
    caps = {
        cap: None
        for model in budget.models_usd or ("",)
        for cap in budget.caps(model=model, tags=tuple(budget.tags_usd))
        if cap.scope not in ("run", "session")
    }
    return tuple(caps)


def _amount(text: str, option: str, typed: str = "") -> Decimal | None:
    try:
        return None if text.lower() == "off" else usd(text)
    except BudgetError:
        raise UsageError(f"invalid {option} {typed or text}: must be {AMOUNT}, or off") from None


def _assigned(assignments: Sequence[str], current: Mapping[str, Decimal], option: str, key: str) -> dict[str, Decimal]:
    caps = dict(current)
    for text in assignments:
        name, equals, amount = text.rpartition("=")
        if not equals or not name:
            raise UsageError(f"invalid {option} {text}: must be {key}=USD, such as {key}=0.50")
        if (limit := _amount(amount, option, text)) is None:
            caps.pop(name, None)
        else:
            caps[name] = limit
    return caps
