"""Route each notebook cell to the cheapest capable LLM, never pass the cap, keep a bill that is right to the cent.

In a notebook: `%load_ext llm_magic`, then cells that start with `%%route`. In Python: `Router`.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llm_magic.budget import Budget
    from llm_magic.errors import (
        AllAttemptsFailed,
        AuthFailed,
        BadRequest,
        BudgetError,
        BudgetExceeded,
        ConnectionFailed,
        ContextTooLong,
        EmptyAnswer,
        EvaluationError,
        InvalidAnswer,
        InvalidOption,
        LedgerError,
        LLMMagicError,
        LocalModelUnavailable,
        ModelNotFound,
        NoCandidate,
        Overloaded,
        PaymentRequired,
        ProtocolError,
        ProviderError,
        RateLimited,
        Refused,
        RegistryError,
        RequestError,
        ServerError,
        StreamBroken,
        TimedOut,
        TuningError,
        UnknownOption,
        UnknownPrice,
    )
    from llm_magic.ledger import Ledger
    from llm_magic.providers import register_wire
    from llm_magic.registry import Registry
    from llm_magic.routing import Router, use_router
    from llm_magic.types import (
        Attempt,
        Classification,
        Comparison,
        ModelSpec,
        Plan,
        Price,
        RouteResult,
        TaskTier,
        Usage,
    )

__all__ = [
    "AllAttemptsFailed", "Attempt", "AuthFailed", "BadRequest", "Budget", "BudgetError", "BudgetExceeded",
    "Classification", "Comparison", "ConnectionFailed", "ContextTooLong", "EmptyAnswer", "EvaluationError",
    "InvalidAnswer", "InvalidOption", "LLMMagicError", "Ledger", "LedgerError", "LocalModelUnavailable",
    "ModelNotFound", "ModelSpec", "NoCandidate", "Overloaded", "PaymentRequired", "Plan", "Price", "ProtocolError",
    "ProviderError", "RateLimited", "Refused", "Registry", "RegistryError", "RequestError", "RouteResult", "Router",
    "ServerError", "StreamBroken", "TaskTier", "TimedOut", "TuningError", "UnknownOption", "UnknownPrice", "Usage",
    "register_wire", "router", "use_router",
]  # fmt: skip

_ROOMS = {
    "Budget": "budget",
    "Ledger": "ledger",
    "Registry": "registry",
    "Router": "routing",
    "register_wire": "providers",
    "use_router": "routing",
} | dict.fromkeys(
    ("Attempt", "Classification", "Comparison", "ModelSpec", "Plan", "Price", "RouteResult", "TaskTier", "Usage"),
    "types",
)

if not logging.getLogger(__name__).handlers:  # `%reload_ext` runs this module once more
    logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_ROOMS.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)


def router() -> Router:
    """The session's router: what `%%route` uses, with the same ledger and the same budget."""
    from llm_magic.routing import session_router

    return session_router()


def load_ipython_extension(ipython: Any) -> None:
    """`%load_ext llm_magic`"""
    from llm_magic.jupyter import load

    load(ipython)


def unload_ipython_extension(ipython: Any) -> None:
    """`%unload_ext llm_magic`"""
    from llm_magic.jupyter import unload

    unload(ipython)
