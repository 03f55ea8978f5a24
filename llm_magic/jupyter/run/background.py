"""Runs in the background: their cells end at once, their answers arrive in their places while other cells run."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import logging
import threading
import time
from collections.abc import Iterable, MutableMapping
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

from llm_magic.bridge import POLL_S
from llm_magic.errors import RequestError
from llm_magic.jupyter.display.run_view import Screen
from llm_magic.jupyter.render.run_state import RunState
from llm_magic.jupyter.run import history
from llm_magic.jupyter.run.foreground import Stopped, no_answer, settled
from llm_magic.routing import Router
from llm_magic.types import Request, RouteResult

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger("llm_magic")

KEPT = 200
"""Runs listed at the most: older ones that are over are forgotten."""


class BackgroundRun:
    """What `--background` gives until the answer is there. Like a future: `done()`, `result()`, `cancel()`."""

    def __init__(self, number: int, router: Router, request: Request, screen: Screen) -> None:
        self.number = number
        self.error: Exception | None = None
        self.names: dict[str, MutableMapping[str, Any]] = {}
        """Where it is bound until its result takes its place."""
        self._router, self._request, self._screen = router, request, screen
        self._state = RunState(cap_usd=router.budget.session_usd, session_usd=router.ledger.spent_usd, unwatched=True)
        self._over = threading.Event()
        self.joined = False
        # ipykernel keeps the cell that an output belongs to in a context variable.
        self._context = contextvars.copy_context()
        self._job = router.job(request)

    def done(self) -> bool:
        """Whether it is over: answered, failed or cancelled."""
        return self._over.is_set()

    def cancel(self) -> None:
        """Cancel the request upstream; what it cost is settled."""
        self._job.cancel()

    def result(self, timeout_s: float | None = None) -> RouteResult:
        """Wait for the answer. Raises what the run raised, CancelledError, and TimeoutError after `timeout_s` seconds.

        An interrupt ends the waiting, not the run.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._over.wait(POLL_S):
            if until is not None and time.monotonic() >= until:
                raise TimeoutError(f"run {self.number} is still under way: {self._state.phase()}")
        if not self.joined:
            # nbclient passes over what comes from a cell that has ended: drawn once more, from the cell that waited.
            self.joined = True
            self._screen.finish(self._state)
        if self.error is not None:
            raise self.error
        assert self._state.result is not None
        return self._state.result

    def __repr__(self) -> str:
        return f"<background run {self.number}: {self.standing()}>"

    def standing(self) -> str:
        """Where it is, in words."""
        return "answered" if self._state.result is not None else self._state.ended or self._state.phase()

    def row(self) -> dict[str, Any]:
        """The run as a row of `%route_jobs`."""
        result, plan = self._state.result, self._state.plan
        model = result.model if result is not None else self._state.current and self._state.current.model.id
        cost = result.cost_usd if result is not None else self._state.cost_usd
        return {
            "run": self.number,
            "standing": self.standing(),
            "model": model,
            "tier": None if plan is None else str(plan.tier),
            "cost_usd": float(cost),
            "names": ", ".join(self.names),
            "prompt": " ".join(self._request.prompt.split())[:60],
        }

    def advance(self) -> bool:
        """Take what has happened and draw it; False once it is over. Called by the drawing thread only."""
        return self._context.run(self._advance)

    def _advance(self) -> bool:
        over = self._take()
        if self._state.result is not None:
            # Before it is drawn: whoever sees the answer finds it under its names.
            for name, where in self.names.items():
                if where.get(name) is self:
                    where[name] = self._state.result
        try:
            if over:
                self._screen.finish(self._state)
            else:
                self._screen.update(self._state)
        except Exception:
            log.exception("a run in the background could not be drawn")
        if over:
            history.note(self._request, self._state)
            self._over.set()
        return not over

    def _take(self) -> bool:
        """Take what has happened by now; True once it is over, with what it failed with in `error`."""
        try:
            try:
                return self._job.poll(self._state.apply)
            except asyncio.CancelledError:
                settled(self._router, self._state, "cancelled")
                self.error = CancelledError(f"run {self.number} was {self._state.ended}")
            except Exception:
                settled(self._router, self._state, "no answer")
                raise
        except Exception as error:  # noqa: BLE001 - here a cell ends; whoever waits for it gets the error
            self.error = error
            self._state.ended = no_answer(error)
        return True


_runs: dict[int, BackgroundRun] = {}
_numbers = itertools.count(1)
_lock = threading.Lock()
_drawing: threading.Thread | None = None


def start(
    router: Router, request: Request, screen: Screen, names: MutableMapping[str, Any], bind: Iterable[str]
) -> BackgroundRun:
    """Start a run and bind it to each name of `bind` in `names`; its result takes its place there."""
    global _drawing
    run = BackgroundRun(next(_numbers), router, request, screen)
    for name in bind:
        names[name] = run
        run.names[name] = names
    with _lock:
        over = [number for number, each in _runs.items() if each.done()]
        for number in over[: max(0, len(_runs) - KEPT + 1)]:
            del _runs[number]
        _runs[run.number] = run
        if _drawing is None:
            _drawing = threading.Thread(target=_draw, name="llm_magic drawing", daemon=True)
            _drawing.start()
    return run


def _draw() -> None:
    """One thread draws every run: widgets and displays may be updated from it, nothing may be printed."""
    global _drawing
    while True:
        with _lock:
            under_way = [run for run in _runs.values() if not run.done()]
            if not under_way:
                _drawing = None
                return
        for run in under_way:
            run.advance()
        time.sleep(POLL_S)


def chosen(numbers: Iterable[int]) -> list[BackgroundRun]:
    """The runs of these numbers, or all. Raises RequestError for one that there is not."""
    with _lock:
        known = dict(_runs)
    wanted = list(numbers) or list(known)
    if missing := [number for number in wanted if number not in known]:
        raise RequestError(f"no run {missing[0]} in the background: %route_jobs lists them")
    return [known[number] for number in wanted]


def wait(runs: Iterable[BackgroundRun]) -> None:
    """Wait until all are over; then raise the first error that nobody has waited for yet. Cancelled ones have none.

    An interrupt ends the waiting, not the runs.
    """
    failed: list[Exception] = []
    try:
        for run in runs:
            fresh = not run.joined
            try:
                run.result()
            except Exception as error:  # noqa: BLE001 - raised below
                failed += [error] if fresh and not isinstance(error, CancelledError) else []
    except KeyboardInterrupt:
        raise Stopped("stopped waiting; the runs go on, %route_jobs cancel ends them") from None
    if failed:
        raise failed[0]


def frame(runs: Iterable[BackgroundRun]) -> pd.DataFrame:
    """One row a run."""
    import pandas as pd

    columns = ["run", "standing", "model", "tier", "cost_usd", "names", "prompt"]
    return pd.DataFrame([run.row() for run in runs], columns=columns).set_index("run")
