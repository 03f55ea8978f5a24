"""Messages about the ledger that runs show to the user."""

from __future__ import annotations

from collections import deque

_MAX_NOTICES = 1_000


class Notices:
    """Numbered messages. Each reaches the run it is about, or else the runs in flight or the next one."""

    def __init__(self) -> None:
        self._notices: deque[tuple[int, str, str]] = deque(maxlen=_MAX_NOTICES)
        self._count = 0
        self.delivered = 0
        """Number of notices of which every later run has been told by an earlier one."""

    def add(self, text: str, *, run_id: str = "") -> None:
        self._count += 1
        self._notices.append((self._count, run_id, text))

    def of_run(self, run_id: str, *, after: int) -> list[str]:
        """Return the notices with a number above `after` that are about a run, or about all runs."""
        if self._count == after:
            return []
        texts = [text for number, about, text in self._notices if number > after and about in ("", run_id)]
        self.delivered = self._count
        return texts
