"""The router, and the one that magics and Python code of a process share."""

from __future__ import annotations

import threading

from llm_magic.bridge import bridge
from llm_magic.providers import aclose
from llm_magic.registry import Registry
from llm_magic.routing.router import Router

__all__ = ["Router", "session_router", "switch_profile", "use_router"]

bridge.at_close(aclose)

_session: Router | None = None
_session_lock = threading.Lock()


def session_router() -> Router:
    """The router that magics and Python code of this process share, made at first use."""
    global _session
    with _session_lock:
        if _session is None:
            _session = Router()
        return _session


def use_router(router: Router) -> Router:
    """Make a router of your own the one that magics and Python code of this process share."""
    global _session
    with _session_lock:
        _session = router
    return router


def switch_profile(profile: str) -> Router:
    """Another set of models for the session; its ledger and budget stay."""
    global _session
    before = session_router()
    _session = Router(registry=Registry.load(profile), ledger=before.ledger, budget=before.budget)
    return _session
