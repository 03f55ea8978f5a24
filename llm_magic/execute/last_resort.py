"""The notes of a run that another model than the first one answered: the reason, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from llm_magic.errors import any_of
from llm_magic.execute.path import path_of
from llm_magic.execute.state import Run
from llm_magic.plan.rejection import key_variables
from llm_magic.types import Candidate, Outcome, Step

_KEY_OUTCOMES = (Outcome.AUTH_FAILED, Outcome.PAYMENT_REQUIRED)
_OBJECTIONS = (*_KEY_OUTCOMES, Outcome.REFUSED, Outcome.BAD_REQUEST)


def note(run: Run, candidate: Candidate) -> str | None:
    """Return the note, or None if the candidate is not a last resort of this run."""
    model, request, registry = candidate.model, run.plan.request, run.services.registry
    if request.model == model.id or not (registry.is_local(model) or request.last_resort == model.id):
        return None
    name = (
        f"{model.id}, the small model on this machine, answered" if registry.is_local(model) else f"{model.id} answered"
    )
    others = [entry for entry in run.plan.ranked if entry.model.id != model.id]
    if any(attempt.model != model.id for attempt in run.attempts) or any(
        not isinstance(entry, Candidate) and entry.is_configured for entry in others
    ):
        causes = causes_of(step for step in run_path(run) if step.model != model.id and not step.outcome.is_answer)
        return f"{name} as the last resort: {causes}{key_hint(run)}"
    if variables := key_variables(run.plan.skipped, registry):
        return f"{name} because no other model is configured: set {any_of(variables)}"
    return f"{name}: its expected quality, {candidate.expected_quality:.0%}, is enough for this request"


def objections(run: Run, candidate: Candidate) -> str:
    """Return the errors of other models that the user can do something about, or empty text."""
    steps = [step for step in run_path(run) if step.outcome in _OBJECTIONS and step.model != candidate.model.id]
    return f"{causes_of(steps)}{key_hint(run)}" if steps else ""


def run_path(run: Run) -> tuple[Step, ...]:
    cascade_models = dict(enumerate(run.sent_models[: run.cascade_attempts], start=1))
    return path_of(run.plan, run.attempts, cascade_models=cascade_models, skipped=run.skipped)


def causes_of(steps: Iterable[Step]) -> str:
    """Return the causes in order, equal ones of a model once: `a: stream broken ×3; b: auth failed (HTTP 401)`."""
    counted = ((cause, len(list(group))) for cause, group in groupby(map(_cause, steps)))
    return "; ".join(cause if count == 1 else f"{cause} ×{count}" for cause, count in counted)


def _cause(step: Step) -> str:
    if step.outcome is Outcome.SKIPPED:
        return f"{step.model}: {step.detail}"
    return f"{step.model}: {step.outcome.words}{f' ({step.detail})' if step.detail else ''}"


def key_hint(run: Run) -> str:
    providers = run.services.registry.providers
    refused = [attempt.provider for attempt in run.attempts if attempt.outcome in _KEY_OUTCOMES]
    names = [providers[name].api_key_env for name in refused if name in providers]
    variables = list(dict.fromkeys(name for name in names if name))
    return f". Check {' and '.join(variables)}" if variables else ""


def is_comparable(run: Run, candidate: Candidate) -> bool:
    """True if the answer is expected to be as good as what was requested, so that its cost can be compared."""
    cascade = run.plan.cascade
    quality = candidate.expected_quality
    if cascade is not None and candidate.name in {cheap.name for cheap in cascade.cheap}:
        quality = max(quality, cascade.expected_quality)
    return quality >= run.plan.minimum_quality - 1e-9
