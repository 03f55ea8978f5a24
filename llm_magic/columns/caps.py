"""The caps of a column: those of its router, and its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from decimal import Decimal

from llm_magic.budget import Budget


class ColumnBudget:
    def __init__(self, budget: Callable[[], Budget], tag: str, limit_usd: Decimal) -> None:
        self._budget, self._caps = budget, {tag: limit_usd}
        self._given = budget()
        self._made = dataclasses.replace(self._given, columns_usd=self._caps)

    def __call__(self) -> Budget:
        if (given := self._budget()) is not self._given:
            self._made, self._given = dataclasses.replace(given, columns_usd=self._caps), given
        return self._made
