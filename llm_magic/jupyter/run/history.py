"""The last runs of this session, kept to run them again, to rate them and to list them.

They are in memory only, up to a limit, and end with the kernel. The ledger stores no text.
"""

from __future__ import annotations

import dataclasses
import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal

from llm_magic.errors import RequestError
from llm_magic.jupyter.render.run_state import RunState
from llm_magic.ledger import Ledger
from llm_magic.registry.capability import strength
from llm_magic.routing import Router
from llm_magic.types import Request, TaskTier

RESULT_NAME = "_route"
MAX_RUNS = 50
MAX_CHARS = 4_000_000

Rating = Literal[1, -1]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    first_run: int
    number: int
    label: str


@dataclasses.dataclass(slots=True, kw_only=True)
class PastRun:
    number: int
    at: datetime
    request: Request
    state: RunState
    rating: Rating | None = None
    column: Column | None = None

    @property
    def model(self) -> str:
        """The model that answered, or else the last one that was sent the request."""
        if self.state.result is not None:
            return self.state.result.model
        return self.state.current.model.id if self.state.current is not None else "no model"

    @property
    def tier(self) -> TaskTier | None:
        return None if self.state.plan is None else self.state.plan.tier


_runs: deque[PastRun] = deque(maxlen=MAX_RUNS)
_numbers = itertools.count(1)
_lock = threading.Lock()
# Called on any thread after a run has ended or was rated.
watchers: set[Callable[[], None]] = set()


def add(request: Request, state: RunState) -> None:
    """Keep a finished run, unless it was refused before it was planned."""
    _add([(request, state, "")])


def add_comparison(columns: Mapping[str, tuple[Request, RunState]]) -> None:
    _add([(request, state, label) for label, (request, state) in columns.items()])


def clear() -> None:
    with _lock:
        _runs.clear()


def _add(runs: Iterable[tuple[Request, RunState, str]]) -> None:
    with _lock:
        first = 0
        for position, (request, state, label) in enumerate(runs, 1):
            if state.plan is None:
                continue
            number = next(_numbers)
            first = first or number
            column = Column(first_run=first, number=position, label=label) if label else None
            _runs.append(PastRun(number=number, at=datetime.now(UTC), request=request, state=state, column=column))
        while len(_runs) > 1 and sum(map(_chars, _runs)) > MAX_CHARS:
            _runs.popleft()
    notify()


def recent() -> list[PastRun]:
    with _lock:
        return list(reversed(_runs))


def entries(ledger: Ledger) -> list[list[PastRun]]:
    """Group this ledger's runs by cell, newest first: a single run, or a comparison's runs from left to right."""
    own = (past for past in recent() if _is_of_session(past.state.ledger, ledger))
    groups = itertools.groupby(own, lambda past: past.number if past.column is None else past.column.first_run)
    return [list(reversed(list(runs))) for _, runs in groups]


def _is_of_session(own: Ledger | None, ledger: Ledger) -> bool:
    """Return True if a run of the ledger `own` is in the totals of `ledger`: two routers can share a session."""
    if own is None or own is ledger:
        return True
    in_memory = own.location == ":memory:"
    return not in_memory and (own.location, own.session_id) == (ledger.location, ledger.session_id)


def last(*, answered: bool = False) -> PastRun:
    """Return the last run, or the last one with an answer. Raises RequestError if there is none."""
    for past in recent():
        if past.state.result is not None or not answered:
            return past
    raise RequestError(f"no runs {'with an answer ' if answered else ''}in this session yet: run a %%route cell")


def rate(router: Router, past: PastRun, rating: Rating | None) -> None:
    """Store the user's rating in the ledger. Raises LedgerError if the run has no answer there."""
    router.ledger.rate(past.state.run_id, rating)
    past.rating = rating
    notify()


def pick(router: Router, run_ids: Sequence[str], picked: str | None) -> None:
    """Rate one of these runs good and clear the ratings of the others. None clears all of them."""
    for run_id in run_ids:
        router.ledger.rate(run_id, 1 if run_id == picked else None)
    for past in recent():
        if past.state.run_id in run_ids:
            past.rating = 1 if past.state.run_id == picked else None
    notify()


def again(
    past: PastRun, *, tier: TaskTier | str | None = None, model: str | None = None, model_reason: str = ""
) -> Request:
    """Return the request for another run of this tier or model. It bypasses the cache and names the run as parent."""
    is_repeat = model is None and tier is None
    return dataclasses.replace(
        past.request,
        tier=past.request.tier if tier is None else TaskTier(tier),
        model=past.request.model if is_repeat else model,
        model_reason=past.request.model_reason if is_repeat else model_reason,
        parent_run_id=past.state.run_id,
        cache=False,
        cascade=None,
    )


def can_escalate(router: Router, past: PastRun) -> bool:
    """Return True if a better model, or a higher effort, may be usable. `escalated` makes sure."""
    floor = strength(router.registry[past.model]) if past.model in router.registry else ()
    above = (model for model in router.registry if strength(model) > floor)
    return _harder(router, past) is not None or any(router.unavailable(model) is None for model in above)


def escalated(router: Router, past: PastRun) -> Request:
    """Return the request to the same model at its provider's default effort, or else to the next better usable model.

    Raises RequestError if no better model is left.
    """
    if (harder := _harder(router, past)) is not None:
        return harder
    known = past.model in router.registry
    floor = strength(router.registry[past.model]) if known else ()
    steps: list[tuple[tuple[float, ...], Decimal, Request]] = []
    for model in router.registry:
        if strength(model) > floor:
            request = again(
                past, model=model.id, model_reason=f"escalated: expected to answer better than {past.model}"
            )
            candidates = router.plan(request).candidates
            if candidates and candidates[0].model.id == model.id:
                steps.append((strength(model), candidates[0].expected_usd, request))
    if not steps:
        raise RequestError(f"{past.model} has answered, and no model above it can be used: name one with --model")
    return min(steps, key=lambda step: step[:2])[2]


def _harder(router: Router, past: PastRun) -> Request | None:
    result = past.state.result
    levels = router.registry[past.model].effort if past.model in router.registry else None
    if result is None or result.effort is None or levels is None or result.effort.rank >= levels.default.rank:
        return None
    reason = f"escalated: the default effort of the model, after {result.effort}"
    request = dataclasses.replace(again(past, model=past.model, model_reason=reason), effort=levels.default)
    candidates = router.plan(request).candidates
    return request if candidates and candidates[0].model.id == past.model else None


def notify() -> None:
    for watcher in tuple(watchers):
        watcher()


def _chars(past: PastRun) -> int:
    return len(past.request.prompt) + sum(map(len, past.state.parts))
