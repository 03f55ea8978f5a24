"""Another form of a request that failed: with the error, without a parameter, or with a lower output limit."""

from __future__ import annotations

from llm_magic.errors import BadRequest, CutOff, InvalidAnswer, ProviderError
from llm_magic.events import Note, NoteKind
from llm_magic.execute.state import AttemptState, Run
from llm_magic.types import Message


def correction(run: Run, state: AttemptState, error: ProviderError) -> tuple[Note, AttemptState] | None:
    """Return the next attempt on the same model and a note about it, or None if there is nothing to correct."""
    if isinstance(error, InvalidAnswer):
        return _repair(run, state, error)
    if isinstance(error, CutOff):
        return _with_full_output(run, state)
    if isinstance(error, BadRequest) and error.refused_parameter:
        return _without_parameter(run, state, error.refused_parameter)
    if isinstance(error, BadRequest) and error.output_limit is not None:
        return _with_output_limit(run, state, error.output_limit)
    return None


def _repair(run: Run, state: AttemptState, error: InvalidAnswer) -> tuple[Note, AttemptState] | None:
    if run.repaired or not state.answer_text.strip():
        return None
    instruction = f"That answer can't be used: {error.details}. Answer again with the corrected JSON only."
    messages = (
        Message(role="assistant", content=state.answer_text),
        Message(role="user", content=instruction),
    )
    candidate = state.candidate.with_messages(messages, run.services.clock.now())
    if candidate is None:
        return None
    run.repaired = True
    note = run.note(NoteKind.REPAIR, f"{candidate.model.id}: {error.details}; asked once to fix it")
    return note, run.new_attempt(candidate, messages)


def _without_parameter(run: Run, state: AttemptState, parameter: str) -> tuple[Note, AttemptState] | None:
    model_id = state.candidate.model.id
    if (model_id, parameter) in run.corrected:
        return None
    run.corrected.add((model_id, parameter))
    message = f"{model_id}: the endpoint does not take {parameter!r}; asked again without it"
    return run.note(NoteKind.CORRECTED, message), run.new_attempt(state.candidate, state.messages)


def _with_output_limit(run: Run, state: AttemptState, limit: int) -> tuple[Note, AttemptState] | None:
    model_id = state.candidate.model.id
    if (model_id, "output_limit") in run.corrected or limit >= state.candidate.max_output_tokens:
        return None
    run.corrected.add((model_id, "output_limit"))
    run.services.output_limits[model_id] = limit
    candidate = state.candidate.with_output_limit(limit, run.services.clock.now())
    message = f"{model_id}: the endpoint takes at most {limit:,} output tokens; asked again with that limit"
    return run.note(NoteKind.CORRECTED, message), run.new_attempt(candidate, state.messages)


def _with_full_output(run: Run, state: AttemptState) -> tuple[Note, AttemptState]:
    candidate = state.candidate.with_full_output(run.services.clock.now())
    message = (
        f"{candidate.model.id}: the answer was longer than three times the earlier ones; asked again with up to "
        f"{candidate.max_output_tokens:,} output tokens"
    )
    return run.note(NoteKind.CORRECTED, message), run.new_attempt(candidate, state.messages)
