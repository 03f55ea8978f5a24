"""Runs of a cell: displayed while they run, and stopped by an interrupt."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import TypeVar

from llm_magic.bridge import SETTLE_TIMEOUT_S, Job
from llm_magic.budget import show_usd
from llm_magic.errors import AllAttemptsFailed, LLMMagicError
from llm_magic.jupyter.display.run_view import RunView
from llm_magic.jupyter.render.run_state import RunState
from llm_magic.jupyter.run import history, unanswered
from llm_magic.routing import Router
from llm_magic.types import CostBasis, Request, RouteResult, Usage

Item = TypeVar("Item")


class Stopped(KeyboardInterrupt):
    """The user's interrupt, displayed as one line instead of a traceback. It also stops Run All."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def run(
    router: Router, request: Request, view: RunView, bind: Callable[[RouteResult], None] = lambda _: None
) -> RouteResult:
    """Run a request and display it. An interrupt cancels the request upstream and settles it, then raises Stopped.

    bind: called with the result; after a stop or a failure with the text and the cost so far. A request that
    can't be planned has no result.
    """
    state = RunState(
        ledger=router.ledger,
        cap_usd=router.budget.session_usd,
        session_usd=router.ledger.spent_usd,
        verbosity=view.verbosity,
    )
    states = {"": state}
    job = None
    try:
        with deferred_interrupts():
            job = router.job(request)
        for event in job.items_with_ticks():
            if event is not None:
                state.apply(event)
            view.update(states)
    except KeyboardInterrupt:
        if job is not None:
            stop(job, state.apply)
        if state.result is not None:
            raise Stopped("stopped when the answer was complete") from None
        record_end(router, state, "stopped")
        _bind_unanswered(bind, router, request, state, "stopped")
        raise Stopped(state.ending) from None
    except LLMMagicError:
        state.session_usd = router.ledger.spent_usd
        state.ending = "no answer"
        _bind_unanswered(bind, router, request, state, "failed" if state.attempts else "not sent")
        raise
    finally:
        with deferred_interrupts():
            if job is not None:
                job.cancel()
            if state.result is not None or state.ending:
                view.finish(states)
                history.add(request, state)
            if state.result is not None:
                bind(state.result)
    assert state.result is not None
    return state.result


def stop(job: Job[Item], apply: Callable[[Item], None]) -> None:
    """Cancel a job, wait until it has settled, and apply the items that it had queued."""
    job.cancel()
    job.join(SETTLE_TIMEOUT_S)
    with suppress(asyncio.CancelledError, LLMMagicError):
        job.drain(apply)


@contextmanager
def deferred_interrupts() -> Generator[None]:
    """Raise an interrupt of the main thread at the end of the block: a job is never started and then lost."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is None:
        yield
        return
    interrupts: list[int] = []
    previous = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
    if interrupts:
        raise KeyboardInterrupt


def _bind_unanswered(
    bind: Callable[[RouteResult], None], router: Router, request: Request, state: RunState, ending: unanswered.Ending
) -> None:
    if (result := unanswered.result_of(router, request, state, ending)) is not None:
        bind(result)


def record_end(router: Router, state: RunState, how: str) -> None:
    state.attempts = router.ledger.rows(run_id=state.run_id) if state.run_id else []
    state.session_usd = router.ledger.spent_usd
    if any(attempt.cost_basis is CostBasis.HELD for attempt in state.attempts):
        state.ending = f"{how}; up to {show_usd(state.cost_usd)} may be billed"
        return
    usage = state.attempts[-1].usage if state.attempts else Usage()
    tokens = usage.output_tokens - usage.reasoning_tokens
    about = "about " if any(attempt.cost_estimated for attempt in state.attempts) else ""
    state.ending = f"{how} after {tokens:,} tokens, {about}{show_usd(state.cost_usd)}"


def failure_text(error: BaseException) -> str:
    if isinstance(error, AllAttemptsFailed):
        return error.message
    return f"no answer: {error if isinstance(error, LLMMagicError) else repr(error)}"
