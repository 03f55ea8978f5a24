"""Plans of some rows of a column, from which the cost of all is estimated."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from llm_magic import prices
from llm_magic.columns.estimate import RowCost, mixed_cost, row_cost
from llm_magic.columns.rowplans import RowPlanner
from llm_magic.columns.rows import ColumnSpec, KnownRows, is_skipped, spread
from llm_magic.columns.source import StreamRows
from llm_magic.errors import LLMMagicError
from llm_magic.types import Plan, Request

if TYPE_CHECKING:
    from llm_magic.columns.preparation import ColumnContext

_SAMPLED_ROWS = 24
_SAMPLED_ODD_ROWS = 6
_SAMPLED_FLEX_ROWS = 4


class Samples:
    """odd_rows: number of rows that are far longer than the typical one, each with a plan of its own."""

    def __init__(self, spec: ColumnSpec, context: ColumnContext, known: KnownRows | None) -> None:
        self._spec = spec
        self._context = context
        plans = self._plans(self._prompts(known), spec.base)
        ordered = sorted((plan.request.prompt for plan in plans), key=len)
        typical = ordered[(len(ordered) - 1) // 2] if ordered else spec.base.prompt
        self.planner = RowPlanner(spec.base, context.request_of, context.make_plan, typical)
        self.odd_rows, self._odd_share = 0, 0.0
        self._typical, self._odd = plans, list[Plan]()
        if known is not None and (odd := known.longer_than(self.planner.odd_chars)):
            self.odd_rows, self._odd_share = len(odd), len(odd) / len(known.firsts)
            self._typical = [plan for plan in plans if not self.planner.is_odd(plan.request.prompt)]
            self._odd = self._plans(known.prompts(spread(odd, _SAMPLED_ODD_ROWS)), spec.base)

    @property
    def row_cost(self) -> RowCost:
        return mixed_cost(row_cost(self._typical), row_cost(self._odd), self._odd_share)

    @cached_property
    def flex_row_cost(self) -> RowCost | None:
        """The cost of a row on the flex tier; None if the leader has none, or if the column is sent there anyway."""
        candidates, now = self.planner.typical.candidates, self._context.services.clock.now()
        if self._spec.base.flex or not candidates or not prices.has_flex(candidates[0].model, now):
            return None
        base = replace(self._spec.base, flex=True)
        typical, odd = (
            self._plans([plan.request.prompt for plan in spread(plans, _SAMPLED_FLEX_ROWS)], base)
            for plans in (self._typical, self._odd)
        )
        if not any(plan.candidates for plan in typical):
            return None
        return mixed_cost(row_cost(typical), row_cost(odd), self._odd_share)

    def _prompts(self, known: KnownRows | None) -> list[str]:
        spec = self._spec
        if known is not None:
            return known.prompts(known.spread(_SAMPLED_ROWS))
        assert isinstance(spec.source, StreamRows)
        rows = spec.source.head(_SAMPLED_ROWS, spec.template.used)
        prompts = [spec.template.fill(cells) for cells in rows if not is_skipped(spec, cells)]
        return [prompt for prompt in prompts if isinstance(prompt, str)]

    def _plans(self, prompts: Iterable[str], base: Request) -> list[Plan]:
        return [plan for prompt in prompts if (plan := self._plan(prompt, base)) is not None]

    def _plan(self, prompt: str, base: Request) -> Plan | None:
        try:
            return self._context.make_plan(self._context.request_of(base, prompt))
        except LLMMagicError:  # the row will fail, or the plan of the typical row does
            return None
