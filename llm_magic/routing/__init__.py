"""The router, and the session's router, which magics and Python code of a process share."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from llm_magic.bridge import bridge
from llm_magic.budget import Budget
from llm_magic.home import home
from llm_magic.providers import aclose, connect
from llm_magic.providers.base import Provider
from llm_magic.registry import Registry
from llm_magic.routing.router import Router

__all__ = [
    "Configuration",
    "Router",
    "configuration",
    "reload_models",
    "reset_session",
    "session_router",
    "switch_profile",
    "use_router",
]

bridge.at_close(aclose)

_session: Router | None = None
_profile: str | None = None
_models_file: bytes | None = None
"""The user's models.toml that the session's models were loaded from; None: there was none."""
_is_given = False
_session_lock = threading.Lock()


def session_router() -> Router:
    """Return the session's router. The first call makes it."""
    global _session
    with _session_lock:
        if _session is None:
            _session = Router(registry=_load(_profile))
        return _session


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    providers: Mapping[str, Provider]
    budget: Budget


def configuration() -> Configuration:
    """Return that of the session's router, or of the one that its first use will make. Opens no ledger.

    Raises RegistryError if the models can't be loaded.
    """
    with _session_lock:
        if _session is not None:
            return Configuration(providers=_session.providers, budget=_session.budget)
        return Configuration(providers=connect(Registry.load(_profile).providers), budget=Budget())


def use_router(router: Router) -> Router:
    """Make a router the session's router, for the magics and for `llm_magic.router()`."""
    global _session, _is_given
    with _session_lock:
        _session, _is_given = router, True
    return router


def reset_session() -> None:
    """Forget the session's router and its profile. The next use makes a new one."""
    global _session, _profile, _is_given
    with _session_lock:
        _session, _profile, _is_given = None, None, False


def switch_profile(profile: str | None) -> None:
    """Switch the session to another set of models, or to the default one if None.

    Ledger, budget, classifier and planner stay. The current profile changes nothing: a router set by `use_router`
    survives `%reload_ext`. Raises RegistryError if the profile can't be loaded, and then nothing is switched.
    """
    global _session, _profile
    with _session_lock:
        if profile == _profile:
            return
        if _session is not None:
            _session = _session.with_registry(_load(profile))
        _profile = profile


def reload_models() -> bool:
    """Read the user's models.toml again, if it has changed. Return True if the session's models were replaced.

    A router set by `use_router` keeps its models. Raises RegistryError for an invalid file, and then nothing changes.
    """
    global _session
    with _session_lock:
        if _session is None or _is_given or _read_models_file() == _models_file:
            return False
        _session = _session.with_registry(_load(_profile))
        return True


def _load(profile: str | None) -> Registry:
    global _models_file, _is_given
    content = _read_models_file()
    registry = Registry.load(profile)
    _models_file, _is_given = content, False
    return registry


def _read_models_file() -> bytes | None:
    try:
        return (home() / "models.toml").read_bytes()
    except OSError:
        return None
