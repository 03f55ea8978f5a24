"""Concern 2: from a plan to an answer."""

from llm_magic.execute.compare import compare
from llm_magic.execute.run import execute
from llm_magic.execute.state import Clock, PerEventLoop, RetryPolicy, Services

__all__ = ["Clock", "PerEventLoop", "RetryPolicy", "Services", "compare", "execute"]
