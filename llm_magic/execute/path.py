"""The path of a run: what happened to each model up to the one that answered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from llm_magic.types import Attempt, Outcome, Plan, Skipped, Step


def path_of(
    plan: Plan,
    attempts: Iterable[Attempt],
    *,
    cascade_models: Mapping[int, str],
    skipped: Mapping[str, str],
    asking: str | None = None,
    running: bool = False,
) -> tuple[Step, ...]:
    """Return the steps of a run, finished or not: those of its cascade, then the models of the plan in order.

    attempts: those that have ended. cascade_models: the model of each attempt of the cascade, by attempt number.
    skipped: reasons by model id, for candidates that were not asked. asking: the last model that was asked, if the
    run has not ended in an answer; the path ends there. running: True while it is being asked.
    """
    ended = sorted(attempts, key=lambda attempt: attempt.attempt)
    by_number = {attempt.attempt: attempt for attempt in ended}
    steps: list[Step] = []
    for number, model_id in sorted(cascade_models.items()):
        if number in by_number:
            steps.append(_step(by_number[number]))
        elif running:
            steps.append(Step(model=model_id, outcome=Outcome.RUNNING))
    others = [attempt for attempt in ended if attempt.attempt not in cascade_models]
    only_cascade = cascade_models and not others and not skipped and asking is None
    if only_cascade or any(step.outcome.is_answer for step in steps):
        return tuple(steps)
    for entry in plan.ranked:
        model_id = entry.model.id
        if isinstance(entry, Skipped):
            steps.append(
                Step(model=model_id, outcome=Outcome.SKIPPED, detail=entry.reason, is_configured=entry.is_configured)
            )
            continue
        if reason := skipped.get(model_id):
            steps.append(Step(model=model_id, outcome=Outcome.SKIPPED, detail=reason))
        tries = [_step(attempt) for attempt in others if attempt.model == model_id]
        steps += tries
        if any(step.outcome.is_answer for step in tries):
            break
        if asking == model_id:
            if running:
                steps.append(Step(model=model_id, outcome=Outcome.RUNNING))
            break
    return tuple(steps)


def _step(attempt: Attempt) -> Step:
    return Step(model=attempt.model, outcome=attempt.outcome, detail=attempt.error or "")
