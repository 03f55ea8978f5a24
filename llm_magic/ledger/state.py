"""Identity of a ledger, by which a restoration to an earlier state is noticed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A ledger's random id, and the number of holds that were ever made in it."""

    ledger_id: str = ""
    generation: int = 0
