"""Concern 2: from a plan to an answer."""

from llm_magic.execute.compare import compare
from llm_magic.execute.loop import execute
from llm_magic.execute.records import Clock, Means, PerLoop, RetryPolicy

__all__ = ["Clock", "Means", "PerLoop", "RetryPolicy", "compare", "execute"]
