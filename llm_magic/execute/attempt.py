"""One request: queue for the provider, hold, send, stream, settle."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, closing

from llm_magic.errors import BudgetExceeded, ProviderError, TimedOut
from llm_magic.events import AttemptEnded, AttemptStarted, Note, NoteKind, Progress, RunEvent, TextDelta, Waiting
from llm_magic.execute import ledger_io, pacing, settlement, window
from llm_magic.execute.holding import acquire_in_time, make_hold
from llm_magic.execute.state import Answered, AttemptState, Failed, NotSent, Run
from llm_magic.execute.stream_timeout import StreamTimeout
from llm_magic.home import hash_key
from llm_magic.plan.prefixes import Prefix, prefix_of
from llm_magic.plan.quotes import messages_of
from llm_magic.providers.base import (
    Finished,
    MergingProvider,
    ProviderEvent,
    ProviderRequest,
    RequestSent,
    UsageReport,
    thinking,
)
from llm_magic.providers.rate_limits import RateLimits
from llm_magic.types import Attempt, Outcome, TaskTier

_MAX_TOKENS_IN_ONE_PIECE = 2_048
"""A longer answer may take longer than the wait for a first token."""


async def attempt(run: Run, state: AttemptState) -> AsyncGenerator[RunEvent]:
    """Send one request and set `state.result`. If it was sent, its row is in the ledger and in `run.attempts`."""
    provider = state.candidate.model.provider
    slot = run.services.slots[provider]()
    if slot.locked():
        ledger_io.release_reservation(run)  # runs ahead in the queue may be waiting for this money
        yield Waiting(reason=f"queued: {provider} is at its concurrency limit")
    if not await acquire_in_time(slot, run):
        state.result = NotSent(TimedOut(f"the run timed out in the queue for {provider}: nothing was sent"))
        return
    try:
        await run.services.loading.prepare(provider, run.services.providers[provider])
        if (wait_s := pacing.wait_s(run, state)) > 0:
            yield Waiting(reason=f"{state.candidate.model.id}: at the limit of its rate", seconds=wait_s)
            await pacing.wait_for_turn(run, state)
        try:
            async with aclosing(make_hold(run, state)) as waits:
                async for waiting in waits:
                    yield waiting
        except (BudgetExceeded, ProviderError) as error:
            state.result = NotSent(error)
            return
        async with aclosing(_send(run, state)) as events:
            async for event in events:
                yield event
    finally:
        slot.release()


async def _send(run: Run, state: AttemptState) -> AsyncGenerator[RunEvent]:
    hold, row = state.hold, state.row
    assert hold is not None
    assert row is not None
    state.started = run.services.clock.monotonic()
    ticket = pacing.ticket_of(run, state)
    outcome, error = Outcome.ERROR, None
    with hold:
        try:
            for note in _cap_notes(run, state):
                yield note
            yield AttemptStarted(attempt=row.attempt, candidate=state.candidate, in_cascade=run.awaiting_confirmation)
            async with aclosing(_stream(run, state)) as events:
                async for event in events:
                    yield event
            settlement.check(state, run.plan, may_ask_again=run.may_send and not state.is_judge)
            outcome = Outcome.UNCONFIRMED if run.awaiting_confirmation else run.answer_outcome
            state.result = Answered()
        except ProviderError as failure:
            outcome, error = failure.outcome, str(failure)
            # Without its frames: some of them have the API key in a variable.
            state.result = Failed(failure.with_traceback(None))
        except (asyncio.CancelledError, GeneratorExit) as stop:
            outcome, error = Outcome.CANCELLED, str(stop) or None
            raise
        finally:
            pacing.ended(run, state, ticket)
            state.row = row = settlement.settled_row(run, state, row, outcome, error)
            run.add_settled(row)
            with ledger_io.settling(run.services):
                hold.settle(row)
            _observe(run, state, row)
    if problem := await ledger_io.write_problem(run):
        # The answer is paid for and must not be lost with it.
        message = f"{problem}. The cost is written as soon as possible; until then it is held"
        yield run.note(NoteKind.LEDGER, message)
    for note in ledger_io.notices(run):
        yield note
    if state.report_doubt:
        yield run.note(NoteKind.USAGE, f"{row.model}: {state.report_doubt}")
    elif isinstance(state.result, Answered) and (doubt := window.doubt(run, state)):
        yield run.note(NoteKind.USAGE, doubt)
    yield AttemptEnded(attempt=row)
    if run.in_column or run.is_shadow:
        return
    for headroom in await ledger_io.headroom(run, state.candidate):
        cap, now = headroom.cap, run.services.clock.now()
        if cap.scope != "run" and (warning := run.services.cap_warnings.crossed(cap, headroom.used_share, now)):
            yield run.note(NoteKind.CAP_WARNING, warning)


def _observe(run: Run, state: AttemptState, row: Attempt) -> None:
    schema = run.plan.request.schema
    if not state.is_judge:
        estimated = 0 if state.candidate.quote.is_counted else state.candidate.input_tokens
        digest = "" if schema is None else schema.digest
        if row.usage.input_tokens and (prefix := prefix_of(run.plan.request)) is not None:
            run.services.prefixes.note(state.candidate.model, prefix.digest, row.usage, run.services.clock.now())
        run.services.lengths.observe(row, estimated_input_tokens=estimated, schema=digest)


def _cap_notes(run: Run, state: AttemptState) -> Iterator[Note]:
    candidate = state.candidate
    model = candidate.model
    if candidate.stepped_down and not run.attempts:
        yield run.note(NoteKind.STEPPED_DOWN, f"near the cap: {candidate.why or f'asked {model.id}'}")
    if candidate.is_limited:
        limit = f"{candidate.max_output_tokens:,} output tokens of {model.id}"
        yield run.note(NoteKind.OUTPUT_LIMITED, f"near the cap: limited to {limit}")


async def _stream(run: Run, state: AttemptState) -> AsyncGenerator[TextDelta | Progress]:
    """Send the request, record what arrives in `state`, and yield what is displayed. Every wait is bounded."""
    clock = run.services.clock
    provider = run.services.providers[state.candidate.model.provider]
    request = _provider_request(run, state)
    state.sent_texts = tuple(message.content for message in request.messages)
    stream = provider.stream_merged(request) if isinstance(provider, MergingProvider) else provider.stream(request)
    if not getattr(provider, "announces_sending", False):
        state.sent_at = clock.monotonic()
    loading = False
    async with aclosing(stream):
        with closing(StreamTimeout()) as timeout:
            while True:
                waiting_since = clock.monotonic()
                limit_s = None if loading else _limit_s(run, state)
                event, is_late = None, False
                try:
                    event = await timeout.next_of(stream, limit_s)
                except TimeoutError:
                    is_late = True
                if is_late:
                    raise TimedOut(_silence(run, state, limit_s))
                now = clock.monotonic()
                if loading:
                    run.deadline += now - waiting_since
                loading = isinstance(event, Progress) and not event.done
                for part in _without_think_tags(state, event):
                    _record(state, part, now)
                    if isinstance(part, TextDelta | Progress):
                        yield part
                if event is None:
                    return


def _silence(run: Run, state: AttemptState, limit_s: float | None) -> str:
    reason = f"no event for {round(limit_s or 0.0, 1):g} s" if run.time_left_s > 0 else "the run's time is up"
    return f"{reason} {'before the first token' if state.first_token_at is None else 'mid-answer'}"


def _without_think_tags(state: AttemptState, event: ProviderEvent | None) -> Sequence[ProviderEvent | None]:
    if event is None or isinstance(event, Finished):
        return [*_shown(*state.think_tags.end()), event]
    if not isinstance(event, TextDelta) or state.think_tags.in_answer:
        return (event,)
    parts: list[ProviderEvent] = []
    pieces = event.pieces or (event.text,)
    for number, piece in enumerate(pieces):
        if state.think_tags.in_answer:
            rest = pieces[number:]
            parts.append(TextDelta(text="".join(rest), pieces=rest if len(rest) > 1 else ()))
            break
        parts += _shown(*state.think_tags.split(piece))
    return parts


def _shown(reasoning: str, text: str) -> list[ProviderEvent]:
    return [*([thinking(reasoning)] if reasoning else ()), *([TextDelta(text=text)] if text else ())]


def _provider_request(run: Run, state: AttemptState) -> ProviderRequest:
    request = run.plan.request
    prefix = prefix_of(request)
    return ProviderRequest(
        model=state.candidate.model,
        messages=(*messages_of(request), *state.messages),
        system=request.system,
        max_output_tokens=state.candidate.max_output_tokens,
        schema=None if state.is_judge else request.schema,
        in_conversation=request.thread is not None,
        effort=state.candidate.effort,
        in_one_piece=_fits_one_piece(run, state),
        is_brief=run.plan.tier in (TaskTier.STRUCTURED, TaskTier.BULK),
        shows_thinking=not run.in_column and not state.is_judge,
        marks_prefix=state.candidate.quote.marks_prefix,
        prefix_chars=0 if prefix is None else len(prefix.text),
        cache_key=_cache_key(run, prefix),
        service_tier="flex" if state.is_flex else None,
    )


def _fits_one_piece(run: Run, state: AttemptState) -> bool:
    limit, is_hedged = state.candidate.max_output_tokens, run.plan.request.hedge_s is not None
    if run.is_displayed or is_hedged or limit > _MAX_TOKENS_IN_ONE_PIECE:
        return False
    pace = state.candidate.model.tokens_per_s or state.learned_pace
    return pace is None or limit / pace <= run.services.policy.first_token_s / 2


def _cache_key(run: Run, prefix: Prefix | None) -> str:
    """Return a key of the conversation or of the shared prefix, which tells nothing about either."""
    thread, ledger = run.plan.request.thread, run.services.ledger
    shared = f"thread {thread.name}" if thread is not None else "" if prefix is None else prefix.digest
    if not shared:
        return ""
    return hmac.new(hash_key(), f"{ledger.location} {shared}".encode(), hashlib.sha256).hexdigest()[:32]


def _record(state: AttemptState, event: ProviderEvent | None, now: float) -> None:
    if isinstance(event, RequestSent):
        state.sent_at, state.in_one_piece = now, event.in_one_piece
        state.was_written, state.unread_share = event.was_written, event.unread_share
        return
    if content := _visible_text(event):
        state.note_content(content, now)
    match event:
        case TextDelta():
            if state.first_token_at is None:
                state.first_token_at = now
            state.text.append(event.text)
        case Progress():
            if event.reasoning:
                (state.summaries if event.is_summary else state.reasoning).append(event.reasoning)
        case UsageReport():
            state.report = event
        case RateLimits():
            state.rate_limits = event
        case Finished():
            state.finished = event
        case _:
            pass


def _visible_text(event: ProviderEvent | None) -> str:
    if isinstance(event, Progress):
        return "" if event.is_summary else event.reasoning
    return event.text if isinstance(event, TextDelta) else ""


def _limit_s(run: Run, state: AttemptState) -> float:
    policy = run.services.policy
    if state.is_flex and state.first_token_at is None:
        return min(max(policy.first_token_s, policy.flex_first_token_s), run.time_left_s)
    return min(policy.first_token_s if state.first_token_at is None else policy.between_tokens_s, run.time_left_s)
