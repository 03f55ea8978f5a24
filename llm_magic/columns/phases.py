"""The phases of a column: the first row alone, so that a shared prefix is written once, the pilot, the other rows."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from llm_magic.budget import show_usd
from llm_magic.columns.estimate import ColumnPlan
from llm_magic.columns.preparation import Preparation
from llm_magic.columns.rows import Item
from llm_magic.columns.runner import Runner
from llm_magic.types import ZERO, Outcome

_SURPRISE = 2
"""A pilot that measures more than this many times the expected cost stops the column."""
_MIN_FAILED = 5
"""A pilot of at least this many failed rows stops the column if they cost money or if all others will fail, too."""
_OF_THE_ACCOUNT = {Outcome.AUTH_FAILED, Outcome.PAYMENT_REQUIRED, Outcome.MODEL_NOT_FOUND}


class Phases:
    """before: the plan with which the column started. pilot: number of rows, 0 for no pilot."""

    def __init__(
        self, preparation: Preparation, runner: Runner, before: ColumnPlan | None, *, pilot: int, is_retry: bool
    ) -> None:
        self._preparation = preparation
        self._runner = runner
        self._progress = runner.progress
        self._before = before
        self._pilot = pilot
        self._is_retry = is_retry

    async def items(self) -> AsyncGenerator[Item]:
        """Ask all rows, and yield each as it ends. At a cap, or after a pilot that costs too much, it ends early."""
        preparation, runner, progress = self._preparation, self._runner, self._progress
        known, pilot = preparation.known, self._pilot
        rows = preparation.feed(is_retry=self._is_retry)
        first = rows if known is None else preparation.feed(preparation.pilot_positions(max(pilot, 1)))
        for count, limit in ((1, 1), (max(pilot - 1, 0), None)):
            async with aclosing(runner.ask(first, count=count, limit=limit)) as items:
                async for item in items:
                    yield item
        if pilot and not progress.stopped:
            progress.stopped = self._surprise(has_more=not rows.is_ended)
        if not progress.stopped:
            async with aclosing(runner.ask(rows)) as items:
                async for item in items:
                    yield item
        if progress.stopped:
            progress.stopped += self._rest()

    def _surprise(self, *, has_more: bool) -> str:
        before, after, progress = self._before, self._preparation.plan(self._progress), self._progress
        is_useless = bool(progress.cost_usd) or not _OF_THE_ACCOUNT.isdisjoint(progress.errors)
        has_no_answer = progress.asked == progress.failed >= _MIN_FAILED
        if has_no_answer and is_useless and has_more and after.to_ask != progress.failed:
            again = "Run it again to go on, or without a pilot to ask all rows"
            return f"stopped after the pilot: none of its {progress.failed:,} rows has an answer. {again}"
        if before is None or not after.is_measured or after.to_ask == 0:
            return ""
        expected, measured = before.row.expected_usd, after.row.expected_usd
        if measured > _SURPRISE * expected and not before.is_measured:
            detail = f"not {show_usd(expected)} as expected"
        elif before.fits and not after.fits:
            detail = f"and the cap has {show_usd(after.left_usd or ZERO)} left"
        else:
            return ""
        again = "Run it again to go on; the answers of the pilot are kept"
        return f"stopped after the pilot: a row costs {show_usd(measured)}, {detail}. {again}"

    def _rest(self) -> str:
        rest = self._preparation.plan(self._progress)
        if rest.to_ask is None or rest.expected_usd is None:
            return ""
        others = "other row" if rest.to_ask == 1 else f"other {rest.to_ask:,} rows"
        return f". The {others} would cost about {show_usd(rest.expected_usd)}"
