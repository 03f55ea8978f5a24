"""Runs and columns that wait for lower prices."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator, Callable, Iterable
from datetime import datetime

from llm_magic.events import Note, NoteKind, Postponed
from llm_magic.types import ModelSpec, Plan, Request
from llm_magic.waiting import encoding
from llm_magic.waiting.off_peak import NOTHING_CHEAPER, clock_time, find_off_peak
from llm_magic.waiting.store import StoredJob
from llm_magic.waiting.wait import Wait, Waiting


def stored_run(request: Request, wait: Wait | None) -> StoredJob | None:
    """Return what to store of a run that waits, or None."""
    if wait is None or wait.names is None or not encoding.is_storable(request):
        return None
    return StoredJob(kind="run", content=encoding.to_json(request), names=wait.names)


def with_off_peak(plan: Plan, plan_at: Callable[[datetime], Plan], models: Iterable[ModelSpec], now: datetime) -> Plan:
    """Add what the run would wait for, if the request is to wait for lower prices."""
    if plan.request.when != "cheap":
        return plan
    return dataclasses.replace(plan, off_peak=find_off_peak(plan_at, models, now))


async def postponed(
    plan_at: Callable[[datetime], Plan],
    models: Iterable[ModelSpec],
    wait: Wait | None,
    job: StoredJob | None,
    waiting: Waiting,
) -> AsyncGenerator[Postponed | Note]:
    """Wait for the off-peak hours if the run is cheaper then. job: what to store until then."""
    clock = waiting.services.clock
    off_peak = await waiting.write(lambda: find_off_peak(plan_at, models, clock.now()))
    if off_peak is None:
        yield Note(kind=NoteKind.POSTPONED, message=f"not postponed: {NOTHING_CHEAPER}")
        return
    yield Postponed(off_peak=off_peak, is_stored=job is not None)
    await (wait or Wait()).until_off_peak(off_peak, job, waiting)
    until = clock_time(off_peak.until)
    if clock.now() < off_peak.until:
        message = f"sent before the off-peak hours of {off_peak.model}, which begin at {until}"
    else:
        message = f"sent after {until}, in the off-peak hours of {off_peak.model}"
    yield Note(kind=NoteKind.POSTPONED, message=message)
