"""Comparisons: several models run at once and displayed side by side, and the user's pick."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from llm_magic.errors import LLMMagicError, RequestError
from llm_magic.events import RunEvent, RunFailed
from llm_magic.jupyter.display.comparison_view import ComparisonView
from llm_magic.jupyter.display.run_view import RunView, choose_view
from llm_magic.jupyter.render.facts import total_cost
from llm_magic.jupyter.render.run_state import RunState, RunStates, Verbosity
from llm_magic.jupyter.run import history
from llm_magic.jupyter.run.foreground import Stopped, failure_text, record_end, stop
from llm_magic.routing import Router
from llm_magic.types import Compared, Comparison, Plan, RouteResult

MAX_PICKABLE = 5

# The last comparison outlives `%reload_ext`, like the session's runs.
_last: list[Comparison] = []
pickable: deque[Picks] = deque()


class Picks:
    """The buttons of a displayed comparison, and its mark of the picked answer, which follows the ratings."""

    def __init__(self, router: Router, shell: Any, states: RunStates, view: ComparisonView) -> None:
        self._router, self._shell, self.view = router, shell, view
        self._results = {label: state.result for label, state in states.items() if state.result is not None}
        view.offer(self._pick)
        history.watchers.add(self.refresh)

    def refresh(self) -> None:
        picked = {past.state.run_id for past in history.recent() if past.column is not None and past.rating == 1}
        self.view.show_pick(next((label for label, result in self._results.items() if result.run_id in picked), None))

    def close(self) -> None:
        history.watchers.discard(self.refresh)
        self.view.freeze()

    def _pick(self, label: str) -> None:
        """Pick an answer. The same pick again clears it."""
        result = self._results[label]
        is_picked = any(past.state.run_id == result.run_id and past.rating == 1 for past in history.recent())
        run_ids = [result.run_id for result in self._results.values()]
        history.pick(self._router, run_ids, None if is_picked else result.run_id)
        if not is_picked:
            self._shell.user_ns[history.RESULT_NAME] = result


def close_views() -> None:
    """Replace the buttons of all displayed comparisons by static output."""
    while pickable:
        pickable.popleft().close()


def _offer_picks(router: Router, shell: Any, states: RunStates, view: RunView) -> None:
    if not isinstance(view, ComparisonView) or all(state.result is None for state in states.values()):
        return
    pickable.append(Picks(router, shell, states, view))
    while len(pickable) > MAX_PICKABLE:
        pickable.popleft().close()


def run(
    router: Router,
    shell: Any,
    prompt: Any,
    models: list[str],
    *,
    freeze: bool,
    stream: bool,
    verbosity: Verbosity = "normal",
    bind: Callable[[Comparison], None] = lambda _: None,
) -> Comparison:
    """Send a prompt to several models at once and display them. An interrupt cancels and settles all of them.

    bind: called with the comparison, also after a stop or a failure.

    Raises BudgetExceeded if the budget does not cover all models, and the first model's error if none has answered.
    """
    _last.clear()
    plans = router.plans(prompt, models=models)
    states = {label: _new_state(router) for label in plans}
    errors: dict[str, LLMMagicError] = {}
    view = choose_view(shell, list(plans), freeze=freeze, stream=stream, verbosity=verbosity)
    job = router.compare_job(plans)
    try:
        for item in job.items_with_ticks():
            if item is not None:
                _apply(router, states, errors, *item)
            view.update(states)
    except KeyboardInterrupt:
        stop(job, lambda item: _apply(router, states, errors, *item))
        for state in states.values():
            if state.result is None and not state.ending:
                record_end(router, state, "stopped")
        _finish(router, shell, plans, states, view)
        bind(_comparison_of(states))
        raise Stopped(f"stopped: {total_cost(states)}") from None
    except LLMMagicError as error:
        bind(Comparison(columns=tuple(Compared(label=label, result=None, error=str(error)) for label in states)))
        view.finish({})
        raise
    finally:
        job.cancel()
    _finish(router, shell, plans, states, view)
    bind(compared := _comparison_of(states))
    if len(errors) == len(plans):
        raise next(iter(errors.values()))
    _last.append(compared)
    return compared


def _new_state(router: Router) -> RunState:
    ledger = router.ledger
    cap_usd = router.budget.session_usd
    return RunState(ledger=ledger, session_usd=ledger.spent_usd, cap_usd=cap_usd, shows_error=True)


def _comparison_of(states: RunStates) -> Comparison:
    return Comparison(
        columns=tuple(
            Compared(label=label, result=state.result, error="" if state.result is not None else state.ending)
            for label, state in states.items()
        )
    )


def clear() -> None:
    _last.clear()


def _apply(
    router: Router,
    states: Mapping[str, RunState],
    errors: dict[str, LLMMagicError],
    label: str,
    event: RunEvent | RunFailed,
) -> None:
    state = states[label]
    if isinstance(event, RunFailed):
        errors[label] = event.error
        record_end(router, state, "failed")
        state.ending = failure_text(event.error)
    else:
        state.apply(event)


def _finish(router: Router, shell: Any, plans: Mapping[str, Plan], states: RunStates, view: RunView) -> None:
    for state in states.values():
        state.session_usd = router.ledger.spent_usd
    history.add_comparison({label: (plans[label].request, state) for label, state in states.items()})
    view.finish(states)
    _offer_picks(router, shell, states, view)


def pick(router: Router, which: str) -> RouteResult:
    """Rate the answer of one column good, by number or label, and clear the other ratings. Return its result.

    Raises RequestError if nothing was compared, for an unknown column, and for a column without an answer.
    """
    if not _last:
        raise RequestError("nothing to pick from: run %%route --compare first")
    comparison = _last[-1]
    labels = [column.label for column in comparison.columns]
    index = int(which) - 1 if which.isdecimal() else labels.index(which) if which in labels else -1
    if not 0 <= index < len(labels):
        raise RequestError(f"no column {which!r}: pick 1 to {len(labels)}, or one of {', '.join(labels)}")
    result = comparison.columns[index].result
    if result is None:
        raise RequestError(f"{labels[index]} has no answer to pick")
    history.pick(router, [answered.run_id for answered in comparison.results], result.run_id)
    return result
