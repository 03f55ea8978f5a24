"""This process as it looks in another container with the same host name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from unittest import mock

import psutil

from llm_magic.ledger import attempts, owners

_PID = 7


def _process(pid: int) -> SimpleNamespace:
    if pid != _PID:
        raise psutil.NoSuchProcess(pid)
    return SimpleNamespace(create_time=lambda: 1.0, status=lambda: psutil.STATUS_RUNNING)


@contextmanager
def other_container() -> Iterator[None]:
    """Put the ledger's view of processes into another PID namespace, in which this process is the only one (Linux)."""
    system = SimpleNamespace(getpid=lambda: _PID, stat=lambda _: SimpleNamespace(st_ino=_PID))
    try:
        with (
            mock.patch.object(owners, "os", system),
            mock.patch.object(attempts, "os", system),
            mock.patch("psutil.Process", _process),
        ):
            _forget_names()
            yield
    finally:
        _forget_names()


def _forget_names() -> None:
    owners.pid_space.cache_clear()
    owners.process_name.cache_clear()
