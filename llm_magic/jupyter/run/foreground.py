"""One run, watched from a cell: draw its events as they come, and end as a cell should."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from llm_magic.bridge import SETTLE_S
from llm_magic.budget import show_usd
from llm_magic.errors import AllAttemptsFailed, LLMMagicError
from llm_magic.jupyter.display.run_view import Screen
from llm_magic.jupyter.render.run_state import RunState
from llm_magic.jupyter.run import history
from llm_magic.routing import Router
from llm_magic.types import Request, RouteResult


class Stopped(KeyboardInterrupt):
    """The user's stop: one line instead of a traceback, and still the end of Run All."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def watch(router: Router, request: Request, screen: Screen) -> RouteResult:
    """Run a request and draw it. An interrupt cancels it upstream and settles it before the cell ends."""
    state = RunState(cap_usd=router.budget.session_usd, session_usd=router.ledger.spent_usd)
    job = router.job(request)
    try:
        for event in job.ticking():
            if event is not None:
                state.apply(event)
            screen.update(state)
    except KeyboardInterrupt:
        job.cancel()
        job.join(SETTLE_S)
        settled(router, state, "stopped")
        screen.finish(state)
        history.note(request, state)
        raise Stopped(state.ended) from None
    except LLMMagicError:
        state.session_usd = router.ledger.spent_usd
        state.ended = "no answer"
        screen.finish(state)
        history.note(request, state)
        raise
    finally:
        job.cancel()
    screen.finish(state)
    history.note(request, state)
    assert state.result is not None
    return state.result


def settled(router: Router, state: RunState, how: str) -> None:
    """Take from the ledger what a run that was ended came to."""
    state.attempts = router.ledger.rows(run_id=state.run_id) if state.run_id else []
    state.session_usd = router.ledger.spent_usd
    tokens = state.attempts[-1].usage.output_tokens if state.attempts else 0
    about = "about " if any(attempt.cost_estimated for attempt in state.attempts) else ""
    state.ended = f"{how} after {tokens:,} tokens, {about}{show_usd(state.cost_usd)}"


def no_answer(error: BaseException) -> str:
    """How a run ended that nobody waits for, in words."""
    said = error_text(error) if isinstance(error, LLMMagicError) else repr(error)
    return said if said.startswith("no answer") else f"no answer: {said}"


@contextmanager
def short_errors() -> Generator[None]:
    """Within, our errors are shown as one line; any other keeps its traceback."""
    try:
        yield
    except LLMMagicError as error:
        raise _shorten(error)  # noqa: B904 - the same error, not another


def _shorten(error: LLMMagicError) -> LLMMagicError:
    """The same error, shown in a cell as what happened and what to do, without our own frames."""
    # IPython asks an error for it.
    error._render_traceback_ = lambda: [f"{type(error).__name__}: {error_text(error)}"]  # pyright: ignore[reportAttributeAccessIssue]
    return error


def error_text(error: LLMMagicError) -> str:
    """What an error says, without the count of causes that an exception group appends."""
    return error.message if isinstance(error, AllAttemptsFailed) else str(error)
