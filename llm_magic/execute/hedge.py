"""Two candidates at once, where the first token is late: whoever speaks first answers, the other one is billed too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress

from llm_magic.events import RunEvent, TextDelta
from llm_magic.execute.retry import ask
from llm_magic.execute.state import Run, Services
from llm_magic.types import Candidate

_LOST = "another model answered first"


async def race(
    run: Run, first: Candidate, waiting: list[Candidate], services: Services, *, late_s: float
) -> AsyncGenerator[RunEvent]:
    """Ask `first`, and the head of `waiting` too (taken from it) when no token has come after `late_s` seconds.

    The first to show a token goes on alone. Where one fails before, the other goes on. Both have their holds. Where the
    first to speak fails after all, the other one is back at the head of `waiting`.
    """
    events: asyncio.Queue[tuple[Contestant, RunEvent | None]] = asyncio.Queue()
    contestants = [Contestant(run, first, services, events, last=False)]
    alarm = asyncio.create_task(services.clock.sleep(late_s))
    try:
        ahead: Contestant | None = None
        while any(not each.ended for each in contestants):
            coming = asyncio.create_task(events.get())
            try:
                watched = {coming} if len(contestants) > 1 or ahead is not None else {coming, alarm}
                await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
                if not coming.done():
                    if run.may_send(services.policy):
                        rival = waiting.pop(0)
                        yield run.note(f"{first.model.id}: no token after {late_s:g} s; asked {rival.model.id} too")
                        contestants.append(Contestant(run, rival, services, events, last=not waiting))
                    await asyncio.wait({coming})
                who, event = coming.result()
            finally:
                coming.cancel()
            if event is None:
                who.ended = True
                with suppress(asyncio.CancelledError):
                    await who.task
                if run.over and run.answer is None:
                    return
                continue
            if ahead is None and isinstance(event, TextDelta):
                ahead = who
                for other in contestants:
                    if other is not who:
                        other.lost = other.task.cancel(_LOST)
            if ahead in (None, who):
                yield event
        if run.answer is None and not run.over:
            waiting[:0] = [each.candidate for each in contestants if each.lost]
    finally:
        alarm.cancel()
        await all_ended(contestants)


async def all_ended(contestants: Sequence[Contestant]) -> None:
    """Stop those that are still at it and wait until all have settled. Raises what the first of them raised."""
    for each in contestants:
        each.task.cancel()
    for ended in await asyncio.gather(*(each.task for each in contestants), return_exceptions=True):
        if isinstance(ended, Exception):
            raise ended


class Contestant:
    """One of several that are asked at once, running by itself. None behind its last event."""

    def __init__(
        self,
        run: Run,
        candidate: Candidate,
        services: Services,
        events: asyncio.Queue[tuple[Contestant, RunEvent | None]],
        *,
        last: bool,
    ) -> None:
        self.candidate = candidate
        self.ended = False
        self.lost = False
        """Stopped because another one spoke first."""
        self._asking = ask(run, candidate, services, last=last)
        self._events = events
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            async with aclosing(self._asking) as asking:
                async for event in asking:
                    self._events.put_nowait((self, event))
        finally:
            self._events.put_nowait((self, None))
