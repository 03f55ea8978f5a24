"""Route each notebook cell to the cheapest capable LLM, under a spend cap, with an exact ledger.

In a notebook: `%load_ext llm_magic`, then cells that start with `%%route`. In Python: `Router`.
"""

# ruff: noqa: I001 - one import for each module

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # Type checkers take a name as public if it is imported under an alias.
    from llm_magic.budget import Budget as Budget
    from llm_magic.columns import (
        Column as Column,
        ColumnPlan as ColumnPlan,
        ColumnReport as ColumnReport,
        RowResult as RowResult,
    )
    from llm_magic.classify import (
        Classifier as Classifier,
        LinearClassifier as LinearClassifier,
    )
    from llm_magic.errors import (
        AllAttemptsFailed as AllAttemptsFailed,
        AuthFailed as AuthFailed,
        BadRequest as BadRequest,
        BudgetError as BudgetError,
        BudgetExceeded as BudgetExceeded,
        ConnectionFailed as ConnectionFailed,
        ContextTooLong as ContextTooLong,
        CutOff as CutOff,
        EmptyAnswer as EmptyAnswer,
        EvaluationError as EvaluationError,
        InvalidAnswer as InvalidAnswer,
        InvalidOption as InvalidOption,
        LedgerError as LedgerError,
        LLMMagicError as LLMMagicError,
        LocalModelUnavailable as LocalModelUnavailable,
        ModelNotFound as ModelNotFound,
        NoCandidate as NoCandidate,
        Overloaded as Overloaded,
        PaymentRequired as PaymentRequired,
        ProtocolError as ProtocolError,
        ProviderError as ProviderError,
        RateLimited as RateLimited,
        Refused as Refused,
        RegistryError as RegistryError,
        RequestError as RequestError,
        ServerError as ServerError,
        StreamBroken as StreamBroken,
        TimedOut as TimedOut,
        TuningError as TuningError,
        UnknownOption as UnknownOption,
        UnknownPrice as UnknownPrice,
    )
    from llm_magic.ledger import Ledger as Ledger
    from llm_magic.plan import (
        CheapestCapable as CheapestCapable,
        Planner as Planner,
    )
    from llm_magic.providers import register_wire as register_wire
    from llm_magic.registry import Registry as Registry
    from llm_magic.routing import (
        Router as Router,
        use_router as use_router,
    )
    from llm_magic.types import (
        Attachment as Attachment,
        Attempt as Attempt,
        Candidate as Candidate,
        Classification as Classification,
        Comparison as Comparison,
        Message as Message,
        ModelSpec as ModelSpec,
        Outcome as Outcome,
        Plan as Plan,
        Price as Price,
        Request as Request,
        RouteResult as RouteResult,
        Skipped as Skipped,
        TaskTier as TaskTier,
        Usage as Usage,
    )

# The public names of each module, imported at first use.
_EXPORTS = {
    "budget": "Budget",
    "classify": "Classifier LinearClassifier",
    "columns": "Column ColumnPlan ColumnReport RowResult",
    "errors": (
        "AllAttemptsFailed AuthFailed BadRequest BudgetError BudgetExceeded ConnectionFailed ContextTooLong "
        "CutOff EmptyAnswer EvaluationError InvalidAnswer InvalidOption LLMMagicError LedgerError "
        "LocalModelUnavailable ModelNotFound NoCandidate Overloaded PaymentRequired ProtocolError "
        "ProviderError RateLimited Refused RegistryError RequestError ServerError StreamBroken TimedOut "
        "TuningError UnknownOption UnknownPrice"
    ),
    "ledger": "Ledger",
    "plan": "CheapestCapable Planner",
    "providers": "register_wire",
    "registry": "Registry",
    "routing": "Router use_router",
    "types": (
        "Attachment Attempt Candidate Classification Comparison Message ModelSpec Outcome Plan Price Request "
        "RouteResult Skipped TaskTier Usage"
    ),
}

_MODULES = {name: module for module, names in _EXPORTS.items() for name in names.split()}

__all__ = [*_MODULES, "router"]  # pyright: ignore[reportUnsupportedDunderAll] - the aliases above state it

if not logging.getLogger(__name__).handlers:  # `%reload_ext` runs this module again
    logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)


def router() -> Router:
    """Return the session's router, which `%%route` uses: the same ledger and the same budget."""
    from llm_magic.routing import session_router

    return session_router()


def load_ipython_extension(ipython: Any) -> None:
    from llm_magic.jupyter import load

    load(ipython)


def unload_ipython_extension(ipython: Any) -> None:
    from llm_magic.jupyter import unload

    unload(ipython)
