"""Background runs: their cells return at once, and their answers appear there while other cells run."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable, MutableMapping
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, Protocol

from llm_magic.bridge import POLL_INTERVAL_S
from llm_magic.columns import Column
from llm_magic.errors import RequestError
from llm_magic.jupyter.display.column_view import ColumnView
from llm_magic.jupyter.display.run_view import RunView
from llm_magic.jupyter.render.run_state import RunState
from llm_magic.jupyter.run import history
from llm_magic.jupyter.run.columns import BackgroundColumn
from llm_magic.jupyter.run.foreground import Stopped, failure_text, record_end
from llm_magic.routing import Router
from llm_magic.routing.patience import stored_run
from llm_magic.types import Request, RouteResult
from llm_magic.waiting import encoding
from llm_magic.waiting.off_peak import clock_time
from llm_magic.waiting.store import StoredJob
from llm_magic.waiting.wait import Wait

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger("llm_magic")

MAX_LISTED = 200
_MOVED = "shown in the cell that ran again"
_COLUMNS = ("run", "status", "model", "tier", "cost_usd", "names", "prompt")


class BackgroundRun:
    """A run started by `--background`. Like a future, it has `done()`, `result()` and `cancel()`."""

    def __init__(
        self, number: int, router: Router, request: Request, view: RunView, names: tuple[str, ...] = ()
    ) -> None:
        self.number = number
        self.wait_for_price = Wait(names)
        self.error: Exception | None = None
        self.bindings: dict[str, MutableMapping[str, Any]] = {}
        self.was_awaited = False
        self._router, self._request, self._view = router, request, view
        self.state = RunState(
            ledger=router.ledger,
            cap_usd=router.budget.session_usd,
            session_usd=router.ledger.spent_usd,
            shows_error=True,
            verbosity=view.verbosity,
        )
        self._states = {"": self.state}
        self._ended = threading.Event()
        self._drawing = threading.Lock()
        self.unclaimed: StoredJob | None = None
        # ipykernel keeps the cell of an output in a context variable.
        self._context = contextvars.copy_context()
        self._job = router.job(request, self.wait_for_price)

    def done(self) -> bool:
        return self._ended.is_set()

    def cancel(self) -> None:
        self.wait_for_price.cancel()
        self._job.cancel()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the run has ended, and return False after `timeout_s` seconds. Other threads keep running."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._ended.wait(POLL_INTERVAL_S):
            if deadline is not None and time.monotonic() >= deadline:
                return False
        return True

    def result(self, timeout_s: float | None = None) -> RouteResult:
        """Wait for the answer.

        Raises the error of the run, CancelledError if it was canceled, and TimeoutError after `timeout_s` seconds. An
        interrupt ends the waiting, not the run.
        """
        if not self.wait(timeout_s):
            raise TimeoutError(f"run {self.number} is still running: {self.state.phase()}")
        if not self.was_awaited:
            # nbclient ignores output of cells that have ended, so the cell that waits draws the run again.
            self.was_awaited = True
            self._view.finish(self._states)
        if self.error is not None:
            raise self.error
        assert self.state.result is not None
        return self.state.result

    def __repr__(self) -> str:
        return f"<background run {self.number}: {self.status()}>"

    def status(self) -> str:
        return "answered" if self.state.result is not None else self.state.ending or self.state.phase()

    def row(self) -> dict[str, Any]:
        result, plan, current = self.state.result, self.state.plan, self.state.current
        return {
            "run": self.number,
            "status": self.status(),
            "model": result.model if result is not None else current and current.model.id,
            "tier": None if plan is None else str(plan.tier),
            "cost_usd": float(self.state.cost_usd if result is None else result.cost_usd),
            "names": ", ".join(self.bindings),
            "prompt": " ".join(self._request.prompt.split())[:60],
        }

    def continue_in(self, view: RunView) -> None:
        """Display the run in the running cell from now on. The display before states that it moved."""
        with self._drawing:
            if not self.done():
                self._context.run(self._view.finish, {"": dataclasses.replace(self.state, ending=_MOVED)})
            self.unclaimed, self._view, self._context = None, view, contextvars.copy_context()
            if self.done():
                view.finish(self._states)

    def bind_result(self) -> None:
        """Replace the run by its result in the names that are still bound to it."""
        if self.state.result is not None:
            for name, namespace in self.bindings.items():
                if namespace.get(name) is self:
                    namespace[name] = self.state.result

    def advance(self) -> None:
        with self._drawing:
            if not self.done():
                self._context.run(self._advance)

    def _advance(self) -> None:
        ended = self._apply_events()
        self.bind_result()  # before it is drawn, so that a displayed answer can be used at once
        try:
            if ended:
                self._view.finish(self._states)
            else:
                self._view.update(self._states)
        except Exception:
            log.exception("a background run could not be drawn")
        if ended:
            history.add(self._request, self.state)
            self._ended.set()

    def _apply_events(self) -> bool:
        """Apply the new events. Return True once the run has ended, with a failure in `error`."""
        try:
            try:
                return self._job.drain(self.state.apply)
            except asyncio.CancelledError:
                record_end(self._router, self.state, "canceled")
                self.error = CancelledError(f"run {self.number} was {self.state.ending}")
            except Exception:
                record_end(self._router, self.state, "no answer")
                raise
        except Exception as error:  # noqa: BLE001 - kept for the cell that waits for this run
            self.error = error
            self.state.ending = failure_text(error)
        return True


_runs: dict[int, Job] = {}
_numbers = itertools.count(1)
_lock = threading.Lock()
_drawing: threading.Thread | None = None


class Job(Protocol):
    """A background run, or a column in the background."""

    number: int
    bindings: dict[str, MutableMapping[str, Any]]
    was_awaited: bool

    @property
    def wait_for_price(self) -> Wait: ...

    def done(self) -> bool: ...

    def cancel(self) -> None: ...

    def result(self) -> object: ...

    def row(self) -> dict[str, Any]: ...

    def advance(self) -> None: ...


def start(
    router: Router, request: Request, view: RunView, namespace: MutableMapping[str, Any], names: Iterable[str]
) -> BackgroundRun:
    """Start a run and bind it to these names in the namespace. Its result replaces it there.

    An equal run that was continued from a kernel that has ended is taken over: it is not sent a second time.
    """
    names = tuple(names)
    run = _claimed(router, request, names)
    if run is None:
        run = BackgroundRun(next(_numbers), router, request, view, names)
    else:
        run.continue_in(view)
    add(run, run, namespace, names)
    if run.done():
        run.bind_result()
    return run


def _claimed(router: Router, request: Request, names: tuple[str, ...]) -> BackgroundRun | None:
    """Return the run that continues an equal cell of a kernel that has ended, unless it failed."""
    with _lock:
        continued = [run for run in _runs.values() if isinstance(run, BackgroundRun) and run.unclaimed is not None]
    if not continued or request.when != "cheap":
        return None
    wanted = stored_run(router.plan(request).request, Wait(names))
    return next((run for run in continued if run.unclaimed == wanted and run.error is None), None)


def start_column(column: Column, view: ColumnView, namespace: MutableMapping[str, Any], names: Iterable[str]) -> Column:
    """Start a column and bind it to these names. Its frame replaces it there, except in `_route`."""
    names = tuple(names)
    column.wait_for_price.names = names
    add(BackgroundColumn(next(_numbers), column, view), column, namespace, names)
    return column


def add(run: Job, value: object, namespace: MutableMapping[str, Any], names: Iterable[str]) -> None:
    """List a job, and bind a value to these names in the namespace."""
    global _drawing
    for name in names:
        namespace[name] = value
        run.bindings[name] = namespace
    with _lock:
        finished = [number for number, listed in _runs.items() if listed.done()]
        for number in finished[: max(0, len(_runs) - MAX_LISTED + 1)]:
            del _runs[number]
        _runs[run.number] = run
        if _drawing is None:
            _drawing = threading.Thread(target=_draw, name="llm_magic drawing", daemon=True)
            _drawing.start()


def adopt(
    router: Router,
    namespace: MutableMapping[str, Any],
    run_view: Callable[[], RunView],
    column_view: Callable[[], ColumnView],
) -> list[Job]:
    """Start the jobs that waited for lower prices in kernels that have ended, and list them.

    The result of a run is bound to its names. The answers of a column are kept for its cell, which has the table.
    """
    started: list[Job] = []
    for stored in router.waiting.store.adopt():
        if stored.kind == "run":
            request = encoding.from_json(stored.content)
            run = BackgroundRun(next(_numbers), router, request, run_view(), stored.names)
            run.unclaimed = stored
            add(run, run, namespace, (name for name in stored.names if name != history.RESULT_NAME))
            started.append(run)
            continue
        column = router.restored_column(stored.content)
        column.wait_for_price.names = stored.names
        started.append(BackgroundColumn(next(_numbers), column, column_view()))
        add(started[-1], column, namespace, ())
    return started


def send_now(runs: Iterable[Job]) -> None:
    """Send the jobs that wait for lower prices. Raises RequestError if none does."""
    waiting = [run for run in runs if run.wait_for_price.off_peak is not None]
    if not waiting:
        raise RequestError("no background run waits for lower prices: %route_jobs lists them")
    for run in waiting:
        run.wait_for_price.send_now()


def _draw() -> None:
    """Draw all runs from one thread, which may update widgets and displays but must not print."""
    global _drawing
    while True:
        with _lock:
            running = [run for run in _runs.values() if not run.done()]
            if not running:
                _drawing = None
                return
        for run in running:
            run.advance()
        time.sleep(POLL_INTERVAL_S)


def select(numbers: Iterable[int] = ()) -> list[Job]:
    with _lock:
        known = dict(_runs)
    wanted = list(numbers) or list(known)
    if missing := [number for number in wanted if number not in known]:
        raise RequestError(f"no background run {missing[0]}: %route_jobs lists them")
    return [known[number] for number in wanted]


def clear() -> None:
    with _lock:
        _runs.clear()


def wait(runs: Iterable[Job]) -> None:
    """Wait until all runs have ended, then raise the first error that was not raised before.

    Canceled runs raise nothing. An interrupt ends the waiting, not the runs.
    """
    errors: list[Exception] = []
    try:
        for run in runs:
            was_awaited = run.was_awaited
            print_until(run)
            try:
                run.result()
            except Exception as error:  # noqa: BLE001 - raised below
                if not was_awaited and not isinstance(error, CancelledError):
                    errors.append(error)
    except KeyboardInterrupt:
        raise Stopped("stopped waiting; the runs continue, %route_jobs cancel ends them") from None
    if errors:
        raise errors[0]


def print_until(run: Job) -> None:
    while not run.done():
        if (off_peak := run.wait_for_price.off_peak) is not None:
            until = clock_time(off_peak.until)
            print(f"run {run.number} waits until {until}. %route_jobs now {run.number} sends it now")  # noqa: T201
            return
        time.sleep(POLL_INTERVAL_S)


def frame(runs: Iterable[Job]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame([run.row() for run in runs], columns=list(_COLUMNS)).set_index("run")
