"""Rarer garbage collection while columns run."""

from __future__ import annotations

import gc
import threading
from collections.abc import Generator
from contextlib import contextmanager

_OBJECTS_PER_COLLECTION = 20_000
_lock = threading.Lock()
_running = 0
_before = (0, 0, 0)


@contextmanager
def rarer_collection() -> Generator[None]:
    """Collect cyclic garbage less often.

    The objects of the rows in flight outlast the young generations, so full collections become frequent, and each
    scans all objects of the notebook: a tenth of the CPU of a column.
    """
    global _running, _before  # the collector is the process's
    with _lock:
        if _running == 0:
            _before = gc.get_threshold()
            if 0 < _before[0] < _OBJECTS_PER_COLLECTION:
                gc.set_threshold(_OBJECTS_PER_COLLECTION, *_before[1:])
        _running += 1
    try:
        yield
    finally:
        with _lock:
            _running -= 1
            if _running == 0 and gc.get_threshold()[0] == _OBJECTS_PER_COLLECTION:
                gc.set_threshold(*_before)
