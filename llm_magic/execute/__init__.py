"""Concern 2: from a plan to an answer."""

from llm_magic.execute.executor import Executor
from llm_magic.execute.services import Clock, PerEventLoop, RetryPolicy, Services

__all__ = ["Clock", "Executor", "PerEventLoop", "RetryPolicy", "Services"]
