"""Columns of cells: displayed while they run, and stopped by an interrupt or listed with the background runs."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Callable, MutableMapping
from concurrent.futures import CancelledError
from typing import Any

from llm_magic.bridge import POLL_INTERVAL_S, SETTLE_TIMEOUT_S
from llm_magic.budget import show_usd
from llm_magic.columns import Column
from llm_magic.jupyter.display.column_view import ColumnView
from llm_magic.jupyter.run.foreground import Stopped
from llm_magic.waiting.wait import Wait

log = logging.getLogger("llm_magic")


def run(column: Column, view: ColumnView, bind: Callable[[Column], None]) -> Column:
    """Run a column and display it. An interrupt stops it, keeps the answers, and raises Stopped."""
    column.prepare()
    column.start()
    try:
        while not column.join(POLL_INTERVAL_S):
            view.update(column)
    except KeyboardInterrupt:
        column.cancel()
        column.join(SETTLE_TIMEOUT_S)
        bind(column)
        view.finish(column)
        answered, cost = column.progress.answered, show_usd(column.cost_usd)
        raise Stopped(f"stopped after {answered:,} rows, {cost}. Run the cell again to ask the other rows") from None
    if column.progress.answered or column.error is None:
        bind(column)
        view.finish(column)
    return column.wait()


class BackgroundColumn:
    """A column started by `--background`, as `%route_jobs` lists it."""

    def __init__(self, number: int, column: Column, view: ColumnView) -> None:
        self.number = number
        self.column = column
        self.bindings: dict[str, MutableMapping[str, Any]] = {}
        self.was_awaited = False
        self._view = view
        self._ended = threading.Event()
        # ipykernel keeps the cell of an output in a context variable.
        self._context = contextvars.copy_context()
        column.start()

    @property
    def wait_for_price(self) -> Wait:
        return self.column.wait_for_price

    def done(self) -> bool:
        return self._ended.is_set()

    def cancel(self) -> None:
        self.column.cancel()

    def result(self, timeout_s: float | None = None) -> Column:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._ended.wait(POLL_INTERVAL_S):
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"column {self.number} is still running")
        if not self.was_awaited:
            self.was_awaited = True
            self._view.finish(self.column)
        if self.column.is_canceled:
            raise CancelledError(f"column {self.number} was canceled")
        return self.column.wait()

    def row(self) -> dict[str, Any]:
        progress, plan = self.column.progress, self.column.plan_before
        leader = None if plan is None or not plan.plan.candidates else plan.plan.candidates[0].model.id
        total = "" if plan is None or plan.distinct is None else f" of {plan.distinct:,}"
        return {
            "run": self.number,
            "status": progress.waiting or f"{'ended' if self.done() else 'running'}: {progress.answered:,}{total} rows",
            "model": leader,
            "tier": None if plan is None else str(plan.plan.tier),
            "cost_usd": float(self.column.cost_usd),
            "names": ", ".join(self.bindings),
            "prompt": " ".join(self.column.spec.base.prompt.split())[:60],
        }

    def advance(self) -> None:
        self._context.run(self._advance)

    def _advance(self) -> None:
        try:
            if not self.column.done():
                self._view.update(self.column)
                return
            for name, namespace in self.bindings.items():
                if namespace.get(name) is self.column and name != "_route":
                    namespace[name] = self.column.frame
            self._view.finish(self.column)
        except Exception:
            log.exception("a background column could not be drawn")
        if self.column.done():
            self._ended.set()
