"""The last runs of this session, in memory only: what is needed to run them again, to rate them and to list them.

The ledger keeps no text. This does, up to a bound, and it goes with the kernel.
"""

from __future__ import annotations

import dataclasses
import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

from llm_magic.errors import RequestError
from llm_magic.jupyter.render.run_state import RunState
from llm_magic.routing import Router
from llm_magic.types import Request, TaskTier

RESULT_NAME = "_route"
"""The name in the notebook that each result is bound to."""
MOST_RUNS = 50
MOST_CHARS = 4_000_000
"""Of prompts and answers: older runs are forgotten, the last one never."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """The place of a run in a comparison."""

    of: int
    """The comparison: the number of its first run."""
    number: int
    """1, 2, 3, ... from the left."""
    label: str


@dataclasses.dataclass(slots=True, kw_only=True)
class PastRun:
    """A run that is over."""

    number: int
    at: datetime
    request: Request
    state: RunState
    rating: Literal[1, -1] | None = None
    column: Column | None = None
    """Where it was one of several models that were compared."""

    @property
    def model(self) -> str:
        """The model that answered, or was asked last."""
        if self.state.result is not None:
            return self.state.result.model
        return self.state.current.model.id if self.state.current is not None else "no model"

    @property
    def tier(self) -> TaskTier | None:
        return None if self.state.plan is None else self.state.plan.tier


_runs: deque[PastRun] = deque(maxlen=MOST_RUNS)
_numbers = itertools.count(1)
_lock = threading.Lock()
watchers: set[Callable[[], None]] = set()
"""Called when a run has ended or was rated, from whichever thread that happened in."""


def note(request: Request, state: RunState) -> None:
    """Remember a run that is over. One that was refused before it was planned leaves nothing to run again."""
    _note([(request, state, "")])


def note_compared(columns: Mapping[str, tuple[Request, RunState]]) -> None:
    """Remember the runs of a comparison, by their labels."""
    _note([(request, state, label) for label, (request, state) in columns.items()])


def _note(runs: Iterable[tuple[Request, RunState, str]]) -> None:
    with _lock:
        first = 0
        for place, (request, state, label) in enumerate(runs, 1):
            if state.plan is None:
                continue
            number = next(_numbers)
            first = first or number
            column = Column(of=first, number=place, label=label) if label else None
            _runs.append(PastRun(number=number, at=datetime.now(UTC), request=request, state=state, column=column))
        while len(_runs) > 1 and sum(map(_chars, _runs)) > MOST_CHARS:
            _runs.popleft()
    tell()


def recent() -> list[PastRun]:
    """The runs that are remembered, the last one first."""
    with _lock:
        return list(reversed(_runs))


def entries() -> list[list[PastRun]]:
    """The same as a person asked for them: a run alone, or the runs of a comparison from left to right."""
    grouped = itertools.groupby(recent(), lambda done: done.number if done.column is None else done.column.of)
    return [list(reversed(list(runs))) for _, runs in grouped]


def last(*, answered: bool = False) -> PastRun:
    """The last run, or the last one that has an answer. Raises RequestError where there is none."""
    for done in recent():
        if done.state.result is not None or not answered:
            return done
    raise RequestError(f"no run of this session {'has an answer' if answered else 'is remembered'} yet: %%route first")


def rate(router: Router, done: PastRun, rating: Literal[1, -1] | None) -> None:
    """Keep in the ledger what the user thinks of an answer. Raises LedgerError where it has no such answer."""
    router.ledger.rate(done.state.run_id, rating)
    done.rating = rating
    tell()


def pick(router: Router, of: Sequence[str], run_id: str | None) -> None:
    """Of these runs rate one good and take the others' ratings back; None takes back all."""
    for each in of:
        router.ledger.rate(each, 1 if each == run_id else None)
    for done in recent():
        if done.state.run_id in of:
            done.rating = 1 if done.state.run_id == run_id else None
    tell()


def again(done: PastRun, *, tier: TaskTier | str | None = None, model: str | None = None) -> Request:
    """The same request, for this tier or this model, as a child of that run. Never answered from the cache."""
    return dataclasses.replace(
        done.request,
        tier=done.request.tier if tier is None else TaskTier(tier),
        model=model if model is not None or tier is not None else done.request.model,
        parent_run_id=done.state.run_id,
        cache=False,
        cascade=None,
    )


def escalated(router: Router, done: PastRun) -> Request:
    """The same request one tier up; further up where that would ask the same model; at last the top model itself.

    Raises RequestError where no other model is left to ask.
    """
    tiers = list(TaskTier)
    now = done.tier or TaskTier.BULK
    for tier in reversed(tiers[: tiers.index(now)]):
        request = again(done, tier=tier)
        if (candidates := router.plan(request).candidates) and candidates[0].model.id != done.model:
            return request
    top = again(done, tier=TaskTier.COMPLEX)
    plan = router.plan(top)
    others = [each.model.id for each in plan.candidates if each.model.id != done.model]
    if plan.baseline_model.id in others:
        return dataclasses.replace(top, model=plan.baseline_model.id)
    raise RequestError(f"{done.model} has answered, and no model above it can be used: name one with --model")


def tell() -> None:
    """Let every watcher know that something has changed."""
    for watcher in tuple(watchers):
        watcher()


def _chars(done: PastRun) -> int:
    return len(done.request.prompt) + sum(map(len, done.state.parts))
