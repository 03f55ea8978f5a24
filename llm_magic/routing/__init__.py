"""The router, and the one that magics and Python code of a process share."""

from __future__ import annotations

import threading

from llm_magic.bridge import bridge
from llm_magic.providers import aclose
from llm_magic.registry import Registry
from llm_magic.routing.router import Router

__all__ = ["Router", "reset_session", "session_router", "switch_profile", "use_router"]

bridge.at_close(aclose)

_session: Router | None = None
_profile: str | None = None
_session_lock = threading.Lock()


def session_router() -> Router:
    """The router that magics and Python code of this process share, made at first use."""
    global _session
    with _session_lock:
        if _session is None:
            _session = Router(registry=Registry.load(_profile))
        return _session


def use_router(router: Router) -> Router:
    """Make a router of your own the one that magics and Python code of this process share."""
    global _session
    with _session_lock:
        _session = router
    return router


def reset_session() -> None:
    """Forget the shared router and its profile; the next use makes a new one."""
    global _session, _profile
    with _session_lock:
        _session = _profile = None


def switch_profile(profile: str | None) -> None:
    """Another set of models for the session, None for the default one; its ledger and budget stay.

    Raises RegistryError where it can't be loaded, and then nothing is switched. The same again switches nothing: a
    router of the user's own stays when the extension is loaded anew.
    """
    global _session, _profile
    with _session_lock:
        if profile == _profile:
            return
        if (before := _session) is not None:
            registry = Registry.load(profile)
            _session = Router(registry=registry, ledger=before.ledger, budget=before.budget, quality=before.quality)
        _profile = profile
