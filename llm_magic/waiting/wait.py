"""The wait of one run or column: until its off-peak hours, until it is sent at once, or until it is canceled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from llm_magic.errors import LedgerError
from llm_magic.execute import Services, ledger_io
from llm_magic.types import OffPeak
from llm_magic.waiting.store import LEASE_S, StoredJob, WaitingStore

_STEP_S = 60.0
"""A machine may be suspended while it waits, so the time is looked at again and again."""


class Wait:
    """A handle on the wait of a run or a column. Any thread may use it.

    names: of the variables that the result is bound to; None: the job is not stored. off_peak: set while it waits.
    """

    def __init__(self, names: tuple[str, ...] | None = None) -> None:
        self.names = names
        self.off_peak: OffPeak | None = None
        self._is_over = False
        self._is_canceled = False
        self._wake: Callable[[], object] = lambda: None

    def send_now(self) -> None:
        self._is_over = True
        self._wake()

    def cancel(self) -> None:
        """End the wait for good: the stored job is deleted. Its task must be canceled too."""
        self._is_canceled = True
        self._wake()

    async def until_off_peak(self, off_peak: OffPeak, job: StoredJob | None, waiting: Waiting) -> None:
        """Wait. job: to store meanwhile. Raises CancelledError after `cancel`.

        The stored job stays if the task is canceled without `cancel`, as it is when the process ends.
        """
        loop, woken = asyncio.get_running_loop(), asyncio.Event()
        self._wake = lambda: loop.call_soon_threadsafe(woken.set)
        job_id = None if job is None else await waiting.add(job, self)
        self.off_peak = off_peak
        try:
            await self._steps(off_peak, job_id, waiting, woken)
        finally:
            self.off_peak, self._wake = None, lambda: None
            if self._is_canceled and job_id is not None:
                with ledger_io.settling(waiting.services):
                    waiting.remove(job_id, self)
        if self._is_canceled:
            raise asyncio.CancelledError
        if job_id is not None:
            await waiting.write(lambda: waiting.remove(job_id, self))

    async def _steps(self, off_peak: OffPeak, job_id: str | None, waiting: Waiting, woken: asyncio.Event) -> None:
        clock = waiting.services.clock
        renew_at = clock.monotonic() + LEASE_S / 3
        while not (self._is_over or self._is_canceled):
            left_s = (off_peak.until - clock.now()).total_seconds()
            if left_s <= 0:
                self._is_over = True
                return
            sleep = asyncio.ensure_future(clock.sleep(min(left_s, _STEP_S)))
            wake = asyncio.ensure_future(woken.wait())
            try:
                await asyncio.wait({sleep, wake}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                sleep.cancel()
                wake.cancel()
            if job_id is not None and clock.monotonic() >= renew_at:
                renew_at = clock.monotonic() + LEASE_S / 3
                with suppress(LedgerError):
                    await waiting.write(lambda: waiting.store.renew(job_id))


class Waiting:
    """The waits of one router that are stored."""

    def __init__(self, store: WaitingStore, services: Services) -> None:
        self.store = store
        self.services = services
        self._waits: dict[str, Wait] = {}

    async def add(self, job: StoredJob, wait: Wait) -> str | None:
        """Store a job and return its id; None if it can't be stored. An equal one that waits here is canceled."""
        try:
            job_id = await self.write(lambda: self.store.put(job))
        except LedgerError:
            return None
        if (replaced := self._waits.get(job_id)) is not None:
            replaced.cancel()
        self._waits[job_id] = wait
        return job_id

    def remove(self, job_id: str, wait: Wait) -> None:
        """Delete the stored job of a wait that has ended, unless an equal one has replaced it."""
        if self._waits.get(job_id) is wait:
            self.store.delete([job_id])
            del self._waits[job_id]

    async def write(self, call: Callable[[], ledger_io.Result]) -> ledger_io.Result:
        return await ledger_io.when_unlocked(call, self.services)
