"""Several models side by side: run at once, drawn in columns, and a pick that is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_magic.bridge import SETTLE_S
from llm_magic.errors import LLMMagicError, RequestError
from llm_magic.events import RunFailed
from llm_magic.jupyter.display import comparison_view
from llm_magic.jupyter.display.comparison_view import Screen, States
from llm_magic.jupyter.render.run_state import RunState
from llm_magic.jupyter.run import history
from llm_magic.jupyter.run.foreground import Stopped, no_answer, settled
from llm_magic.routing import Router
from llm_magic.types import Compared, Comparison, Plan, RouteResult

_last: list[Comparison] = []
"""The last comparison, if it came to its end. Like the session's runs it outlives `%reload_ext`."""


def run(router: Router, shell: Any, prompt: Any, models: list[str], *, freeze: bool, stream: bool) -> Comparison:
    """Ask several models at once and draw them. An interrupt cancels and settles all of them before the cell ends.

    Raises BudgetExceeded where the money for all does not fit, and the first model's error where none has answered.
    """
    _last.clear()
    plans = router.plans(prompt, models=models)
    states = {label: RunState(session_usd=router.ledger.spent_usd, unwatched=True) for label in plans}
    errors: dict[str, LLMMagicError] = {}
    screen = comparison_view.choose(shell, list(plans), freeze=freeze, stream=stream)
    job = router.compare_job(plans)
    try:
        for item in job.ticking():
            if item is not None:
                label, event = item
                if isinstance(event, RunFailed):
                    errors[label] = event.error
                    settled(router, states[label], "failed")
                    states[label].ended = no_answer(event.error)
                else:
                    states[label].apply(event)
            screen.update(states)
    except KeyboardInterrupt:
        job.cancel()
        job.join(SETTLE_S)
        for state in states.values():
            if state.result is None and not state.ended:
                settled(router, state, "stopped")
        _over(router, plans, states, screen)
        raise Stopped(f"stopped: {comparison_view.together(states)}") from None
    except LLMMagicError:
        screen.finish({})
        raise
    finally:
        job.cancel()
    _over(router, plans, states, screen)
    if len(errors) == len(plans):
        raise next(iter(errors.values()))
    compared = [
        Compared(label=label, result=state.result, error="" if state.result is not None else state.ended)
        for label, state in states.items()
    ]
    _last.append(Comparison(columns=tuple(compared)))
    return _last[-1]


def _over(router: Router, plans: Mapping[str, Plan], states: States, screen: Screen) -> None:
    for state in states.values():
        state.session_usd = router.ledger.spent_usd
    history.note_compared({label: (plans[label].request, state) for label, state in states.items()})
    screen.finish(states)


def pick(router: Router, which: str) -> RouteResult:
    """The answer of a column, by its number or its label, rated 1 in the ledger; the others' ratings are taken back.

    Raises RequestError where nothing was compared, and where the last comparison has no such column or no answer in it.
    """
    if not _last:
        raise RequestError("compare first, with %%route --compare")
    comparison = _last[-1]
    labels = [column.label for column in comparison.columns]
    number = int(which) - 1 if which.isdecimal() else labels.index(which) if which in labels else -1
    if not 0 <= number < len(labels):
        raise RequestError(f"no column {which!r}: pick 1 to {len(labels)}, or one of {', '.join(labels)}")
    picked = comparison.columns[number].result
    if picked is None:
        raise RequestError(f"{labels[number]} has no answer to pick")
    history.pick(router, [result.run_id for result in comparison.results], picked.run_id)
    return picked
