"""Scripted runs for the display tests, a clock, and a fake of IPython's display."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from llm_magic.events import RunEvent
from llm_magic.jupyter.render.run_state import RunState
from llm_magic.testing import Failure, Reply
from tests.support.builders import router


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Display:
    """A fake of IPython's display. `places` has the displayed bundle and its updates for each output."""

    def __init__(self) -> None:
        self.places: list[list[dict[str, str]]] = []

    def __call__(self, bundle: dict[str, str], **_: Any) -> Any:
        place = [bundle]
        self.places.append(place)
        return SimpleNamespace(update=lambda update, *, raw: place.append(update))

    @property
    def updates(self) -> list[dict[str, str]]:
        """The updates of the first output."""
        return self.places[0][1:]


def paragraphs(number: int) -> str:
    return f"word {number} " + ("\n\n" if number % 20 == 19 else "")


def events_of(*replies: Reply | Failure, budget: str | None = "5", **options: Any) -> list[RunEvent]:
    session = router(replies=replies)
    session.set_budget(budget)
    return list(session.stream_sync("hello", **{"tier": "bulk", **options}))


def state_after(events: list[RunEvent]) -> RunState:
    state = RunState(cap_usd=Decimal(5))
    for event in events:
        state.apply(event)
    return state
