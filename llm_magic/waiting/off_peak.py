from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from llm_magic import prices
from llm_magic.budget import show_usd
from llm_magic.events import Postponed
from llm_magic.types import ModelSpec, OffPeak, Plan

NOTHING_CHEAPER = "no lower price is expected within a day"


def find_off_peak(plan_at: Callable[[datetime], Plan], models: Iterable[ModelSpec], now: datetime) -> OffPeak | None:
    """Return the hours within a day in which the plan is expected to cost less; None if that is now."""
    moments = {moment for model in models if (moment := prices.cheapest_moment(model, now)) is not None}
    if not moments:
        return None
    now_usd, best = plan_at(now).expected_usd, None
    for moment in sorted(moments):
        later = plan_at(moment)
        then_usd = later.expected_usd
        if then_usd is None or (now_usd is not None and then_usd >= now_usd):
            continue
        if best is None or then_usd < best.then_usd:
            model = later.candidates[0].model.id
            best = OffPeak(until=moment, model=model, now_usd=now_usd, then_usd=then_usd)
    return best


def describe(event: Postponed, rows: int = 1) -> str:
    stored = ". The prompt is stored in the ledger's database until then" if event.is_stored else ""
    return f"waiting {_reason(event.off_peak, rows)}{stored}"


def describe_plan(plan: Plan, rows: int = 1) -> str:
    """Return what a run of the plan would wait for, in words; empty if it is not to wait for lower prices."""
    if plan.request.when != "cheap":
        return ""
    if plan.off_peak is None:
        return f"would be sent at once: {NOTHING_CHEAPER}"
    return f"would wait {_reason(plan.off_peak, rows)}"


def _reason(off_peak: OffPeak, rows: int) -> str:
    """Return until when to wait, for which model, and the costs then and now."""
    now = "nothing can be sent now" if off_peak.now_usd is None else f"{show_usd(rows * off_peak.now_usd)} now"
    return (
        f"until {clock_time(off_peak.until)} for the off-peak price of {off_peak.model}: "
        f"{show_usd(rows * off_peak.then_usd)} expected then, {now}"
    )


def clock_time(moment: datetime) -> str:
    return f"{moment.astimezone():%a %H:%M %Z}"
