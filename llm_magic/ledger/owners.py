"""Names of the processes that hold money in the ledger, and whether those processes still run."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path


@lru_cache(maxsize=1)
def pid_space() -> str:
    """Name the space in which process ids are unique: host name, boot and PID namespace.

    The host name alone is not enough: containers may share it, and each has its own process ids. Without /proc (macOS,
    Windows) only the host name is known.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return socket.gethostname()
    return f"{socket.gethostname()}/{boot}/{namespace}"


@lru_cache(maxsize=2)
def process_name(pid: int) -> str:
    """Name a process uniquely: its PID space, its id and its start time (ids are reused)."""
    import psutil

    return f"{pid_space()} {pid} {psutil.Process(pid).create_time():.2f}"


def is_in_this_space(owner: str) -> bool:
    """Return True if the process can be looked up from here."""
    return owner.startswith(f"{pid_space()} ")


def is_dead(now: float) -> Callable[[str, float], bool]:
    """Return a function of (owner, lease_until) that tells whether a hold's process is gone.

    A process in this PID space is looked up; for any other one its lease decides.
    """
    known = {process_name(os.getpid()): False}

    def dead(owner: str, lease_until: float) -> bool:
        if not is_in_this_space(owner):
            return lease_until < now
        if owner not in known:
            known[owner] = _is_gone(owner)
        return known[owner]

    return dead


def _is_gone(owner: str) -> bool:
    import psutil

    try:
        _, pid, started = owner.rsplit(" ", 2)
        process = psutil.Process(int(pid))
        # A killed process stays a zombie until its parent waits for it, which some containers never do.
        return abs(process.create_time() - float(started)) > 1 or process.status() == psutil.STATUS_ZOMBIE
    except (psutil.Error, ValueError):
        return True
