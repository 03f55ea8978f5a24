"""Two candidates at once if the first token is late: the first to send a token answers, the other one is billed too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress

from llm_magic.events import NoteKind, RunEvent, TextDelta
from llm_magic.execute.retry import ask
from llm_magic.execute.state import Run
from llm_magic.types import Candidate

_LOST = "another model answered first"


async def hedge(run: Run, first: Candidate, waiting: list[Candidate], *, after_s: float) -> AsyncGenerator[RunEvent]:
    """Ask `first`, and pop and ask the head of `waiting` too if no token has arrived after `after_s` seconds.

    The first to send a token continues alone. If it fails later, the other one returns to the head of `waiting`.
    """
    events: asyncio.Queue[tuple[ConcurrentAttempt, RunEvent | None]] = asyncio.Queue()
    attempts = [ConcurrentAttempt(run, first, events, last=False)]
    alarm = asyncio.create_task(run.services.clock.sleep(after_s))
    try:
        leader: ConcurrentAttempt | None = None
        while not all(attempt.ended for attempt in attempts):
            next_event = asyncio.create_task(events.get())
            try:
                may_hedge = len(attempts) == 1 and leader is None
                await asyncio.wait(
                    {next_event, alarm} if may_hedge else {next_event}, return_when=asyncio.FIRST_COMPLETED
                )
                if not next_event.done():
                    if run.may_send:
                        rival = waiting.pop(0)
                        message = f"{first.model.id}: no token after {after_s:g} s; asked {rival.model.id} too"
                        yield run.note(NoteKind.HEDGED, message)
                        attempts.append(ConcurrentAttempt(run, rival, events, last=not waiting))
                    await asyncio.wait({next_event})
                attempt, event = next_event.result()
            finally:
                next_event.cancel()
            if event is None:
                await attempt.join()
                if run.exhausted and run.answer is None:
                    return
                continue
            if leader is None and isinstance(event, TextDelta):
                leader = attempt
                for other in attempts:
                    if other is not attempt:
                        other.lost = other.task.cancel(_LOST)
            if leader in (None, attempt):
                yield event
        if run.answer is None and not run.exhausted:
            waiting[:0] = [attempt.candidate for attempt in attempts if attempt.lost]
    finally:
        alarm.cancel()
        await stop_all(attempts)


async def stop_all(attempts: Sequence[ConcurrentAttempt]) -> None:
    """Cancel the running attempts and wait until all have settled. Raises the first error."""
    for attempt in attempts:
        attempt.task.cancel()
    for ended in await asyncio.gather(*(attempt.task for attempt in attempts), return_exceptions=True):
        if isinstance(ended, Exception):
            raise ended


class ConcurrentAttempt:
    """One of several candidates that are asked at the same time, in a task of its own. Its last event is None."""

    def __init__(
        self,
        run: Run,
        candidate: Candidate,
        events: asyncio.Queue[tuple[ConcurrentAttempt, RunEvent | None]],
        *,
        last: bool,
    ) -> None:
        self.candidate = candidate
        self.ended = False
        self.lost = False
        self._asking = ask(run, candidate, last=last)
        self._events = events
        self.task = asyncio.create_task(self._run())

    async def join(self) -> None:
        """Wait for the task after its last event. Raises its error, unless it was canceled."""
        self.ended = True
        with suppress(asyncio.CancelledError):
            await self.task

    async def _run(self) -> None:
        try:
            async with aclosing(self._asking) as asking:
                async for event in asking:
                    self._events.put_nowait((self, event))
        finally:
            self._events.put_nowait((self, None))
