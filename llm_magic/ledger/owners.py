"""The processes that hold money in the ledger: their names, and whether they are still there."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import lru_cache


@lru_cache(maxsize=1)
def _host() -> str:
    return socket.gethostname()


@lru_cache(maxsize=2)
def process_name(pid: int) -> str:
    """A name that no other process has: host, process id, and when it started (ids come round)."""
    import psutil

    return f"{_host()} {pid} {psutil.Process(pid).create_time():.2f}"


def is_dead(now: float) -> Callable[[str, float], bool]:
    """Tells whether a hold's process is gone: by looking on this machine, by the hold's lease on another."""
    known: dict[str, bool] = {}

    def dead(owner: str, lease_until: float) -> bool:
        if not owner.startswith(f"{_host()} "):
            return lease_until < now
        if owner not in known:
            known[owner] = _is_gone(owner)
        return known[owner]

    return dead


def _is_gone(owner: str) -> bool:
    import psutil

    try:
        _, pid, started = owner.rsplit(" ", 2)
        return abs(psutil.Process(int(pid)).create_time() - float(started)) > 1
    except (psutil.Error, ValueError):
        return True
