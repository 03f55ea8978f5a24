"""Execution of a plan: holds, attempts, retries, fallbacks, settlement."""

from llm_magic.execute.executor import Executor
from llm_magic.execute.services import Clock, PerEventLoop, RetryPolicy, Services

__all__ = ["Clock", "Executor", "PerEventLoop", "RetryPolicy", "Services"]
