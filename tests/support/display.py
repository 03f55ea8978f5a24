"""Stand-ins for what a notebook displays, and for its time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Display:
    """Stands in for IPython's display: keeps what was shown, in the order of display, and every update."""

    def __init__(self) -> None:
        self.places: list[list[dict[str, str]]] = []

    def __call__(self, bundle: dict[str, str], **_: Any) -> Any:
        place = [bundle]
        self.places.append(place)
        return SimpleNamespace(update=lambda update, *, raw: place.append(update))

    @property
    def updates(self) -> list[dict[str, str]]:
        """Of the first place."""
        return self.places[0][1:]


def paragraphs(number: int) -> str:
    return f"word {number} " + ("\n\n" if number % 20 == 19 else "")
