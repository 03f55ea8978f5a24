"""One instruction for all rows of a table, a list or an iterable: planned, capped, kept, resumed."""

from llm_magic.columns.column import Column
from llm_magic.columns.estimate import ColumnPlan
from llm_magic.columns.records import RowResult
from llm_magic.columns.report import ColumnReport

__all__ = ["Column", "ColumnPlan", "ColumnReport", "RowResult"]
