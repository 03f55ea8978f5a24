"""A pause of Python's garbage collector, for code that makes many objects, most of which stay."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def paused_gc() -> Generator[None]:
    """Pause the collector. All objects are in the oldest generation afterwards, as after a full collection."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if gc.get_freeze_count() == 0:  # the user has frozen none
            gc.freeze()
            gc.unfreeze()
        if was_enabled:
            gc.enable()
