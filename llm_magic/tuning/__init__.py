"""Tuning of the models' capabilities to the user's own ledger.

Nothing leaves the machine, and nothing changes before the user applies it.
"""

from __future__ import annotations

from llm_magic.tuning.acceptance import Acceptance
from llm_magic.tuning.estimation import Tuning, apply_tuning, comparisons_of, prior_width, tune
from llm_magic.tuning.steps import EffortSteps
from llm_magic.tuning.store import load, reset, save

__all__ = [
    "Acceptance",
    "EffortSteps",
    "Tuning",
    "apply_tuning",
    "comparisons_of",
    "load",
    "prior_width",
    "reset",
    "save",
    "tune",
]
