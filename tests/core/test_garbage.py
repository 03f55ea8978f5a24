"""The pause of Python's garbage collector."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from llm_magic.garbage import paused_gc


@pytest.fixture(autouse=True)
def unfrozen() -> Iterator[None]:
    """Undo what the suite freezes to be faster, and freeze it again."""
    gc.unfreeze()
    yield
    gc.freeze()


def test_a_pause_ends_with_all_objects_in_the_oldest_generation() -> None:
    with paused_gc():
        assert not gc.isenabled()
        kept = [[number] for number in range(10_000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
    assert any(entry is kept for entry in gc.get_objects(generation=2))


def test_the_pause_ends_after_an_error_too() -> None:
    with pytest.raises(KeyError), paused_gc():
        raise KeyError
    assert gc.isenabled()


def test_a_collector_that_is_off_stays_off() -> None:
    gc.disable()
    try:
        with paused_gc():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_frozen_objects_of_the_user_stay_frozen() -> None:
    gc.freeze()
    frozen = gc.get_freeze_count()
    with paused_gc():
        pass
    assert gc.get_freeze_count() == pytest.approx(frozen, rel=0.01)
