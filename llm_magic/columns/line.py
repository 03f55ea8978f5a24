"""The progress of a column in one line, and the parts of that line."""

from __future__ import annotations

import shutil

from llm_magic.budget import short_usd
from llm_magic.columns.column import Column
from llm_magic.columns.estimate import duration_text


def terminal_line(column: Column) -> str:
    """Return a line that fits into the terminal: a longer one would wrap, and could not be overwritten."""
    line = "; ".join(part for part in (counts(column), *pace(column), money(column), column.progress.waiting) if part)
    width = shutil.get_terminal_size().columns - 1
    return line if len(line) <= width else f"{line[: width - 1]}…"


def counts(column: Column) -> str:
    progress, total = column.progress, _total(column)
    done = progress.answered + progress.failed
    parts = [f"{progress.answered:,} answered"]
    if progress.resumed:
        models = () if column.plan_before is None else column.plan_before.kept_models
        by = f", by {' and '.join(models)} (%route_cache --purge deletes kept answers)" if models else ""
        parts.append(f"{progress.resumed:,} of them before{by}")
    if progress.failed:
        parts.append(f"{progress.failed:,} failed")
    if total is not None:
        parts.append(f"{max(0, total - done):,} left")
    missing = progress.missing or (0 if column.plan_before is None else column.plan_before.missing or 0)
    if missing:
        parts.append(f"{missing:,} without a value")
    return ", ".join(parts)


def pace(column: Column) -> list[str]:
    progress, total = column.progress, _total(column)
    ended = progress.answered + progress.failed - progress.resumed
    if ended <= 0 or column.elapsed_s <= 0:
        return []
    per_minute = 60 * ended / column.elapsed_s
    left = 0 if total is None else total - progress.answered - progress.failed
    text = f"{per_minute:,.0f} rows per minute"
    if column.done():
        return [f"{text}, {duration_text(column.elapsed_s)}"]
    return [f"{text}, about {duration_text(60 * left / per_minute)} left" if left > 0 else text]


def money(column: Column) -> str:
    plan, cap = column.plan_before, column.max_cost_usd
    parts = [f"{short_usd(column.cost_usd)} spent"]
    if plan is not None and plan.expected_usd is not None:
        parts.append(f"{short_usd(plan.expected_usd)} expected")
    if cap is not None:
        parts.append(f"cap {short_usd(cap)}")
    elif plan is not None and plan.left_usd is not None:
        parts.append(f"{short_usd(plan.left_usd)} left under the caps at the start")
    return ", ".join(parts)


def _total(column: Column) -> int | None:
    return None if column.plan_before is None else column.plan_before.distinct
