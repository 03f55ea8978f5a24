"""The notebook face: the only room that knows IPython and ipywidgets."""

from __future__ import annotations

import threading
import warnings
from typing import Any

from llm_magic.errors import AllAttemptsFailed

_loaded: dict[str, Any] = {}
"""What loading changed, so that unloading restores exactly that."""


def load(shell: Any) -> None:
    """Register the magics and how plans and results are shown."""
    from llm_magic.jupyter.magics import completion, namespace
    from llm_magic.jupyter.magics.history import SessionMagics
    from llm_magic.jupyter.magics.ledger import BookMagics
    from llm_magic.jupyter.render.bundles import FORMATTERS

    if _loaded:
        unload(shell)
    manager = shell.magics_manager
    took: dict[str, Any] = {"kinds": {name: dict(found) for name, found in manager.magics.items()}}
    took["classes"] = dict(manager.registry)
    magics = _as_configured(shell)
    took["magics"] = [magics, SessionMagics(shell, magics), BookMagics(shell, magics)]
    shell.register_magics(*took["magics"])
    formatter = shell.display_formatter.mimebundle_formatter
    took["formats"] = [(kind, show, formatter.for_type(kind, show)) for kind, show in FORMATTERS.items()]
    took["completing"] = completion.matcher(shell)
    shell.Completer.custom_matchers.append(took["completing"])
    if not shell.custom_exceptions:
        took["tracebacks"] = shell.custom_exceptions, shell.CustomTB
        shell.set_custom_exc((AllAttemptsFailed,), _show_group)
    namespace.put_back(shell)
    if hasattr(shell, "kernel"):
        threading.Thread(target=_warm_up, name="llm_magic warm-up", daemon=True).start()
    _loaded.update(took)


def _as_configured(shell: Any) -> Any:
    """The magics with the user's settings. A wrong one is said and dropped: it would fail every later load."""
    from traitlets import TraitError
    from traitlets.config import Config

    from llm_magic.jupyter.magics.route import RouteMagics

    before = list(shell.configurables)
    try:
        return RouteMagics(shell)
    except TraitError:
        shell.configurables[:] = before  # the one that could not be made is in it already
    settings = shell.config.RouteMagics
    for name, value in list(settings.items()):
        try:
            RouteMagics(None).update_config(Config({"RouteMagics": {name: value}}))
        except TraitError as error:
            warnings.warn(f"RouteMagics.{name} = {value!r} is not valid and was dropped: {error}", stacklevel=4)
            del settings[name]
    return RouteMagics(shell)


def unload(shell: Any) -> None:
    """Take back what `load` changed, where nobody else has changed it since.

    The session's router, with its ledger and budget, stays, and so does what the user has named.
    """
    if not _loaded:
        return
    from llm_magic.jupyter.magics import namespace

    manager = shell.magics_manager
    for magics in _loaded["magics"]:
        for kind, names in magics.magics.items():
            for name, ours in names.items():
                _put_back(manager.magics[kind], name, ours, _loaded["kinds"][kind].get(name))
        name = type(magics).__name__
        _put_back(manager.registry, name, magics, _loaded["classes"].get(name))
    _loaded["magics"][1].close()
    shell.configurables[:] = [each for each in shell.configurables if each not in _loaded["magics"]]
    matchers = shell.Completer.custom_matchers
    matchers[:] = [each for each in matchers if each is not _loaded["completing"]]
    formatter = shell.display_formatter.mimebundle_formatter
    for kind, ours, before in _loaded["formats"]:
        _put_back(formatter.type_printers, kind, ours, before)
    if shell.custom_exceptions == (AllAttemptsFailed,) and "tracebacks" in _loaded:
        shell.custom_exceptions, shell.CustomTB = _loaded["tracebacks"]
    namespace.take_away(shell)
    _loaded.clear()


def _put_back(table: dict[Any, Any], key: Any, ours: Any, before: Any) -> None:
    """What stood in a table before, unless somebody has put a third thing there."""
    if table.get(key) is not ours:
        return
    if before is None:
        del table[key]
    else:
        table[key] = before


def _warm_up() -> None:
    """Load what the first cell needs, a second's work, while its author is still typing."""
    import genai_prices.data  # pyright: ignore[reportUnusedImport]  # noqa: F401 - the price catalogue

    import llm_magic.ledger.queries  # pyright: ignore[reportUnusedImport]  # noqa: F401 - the database
    from llm_magic import tokens
    from llm_magic.classify import classify

    tokens.count_o200k("ready")
    classify("ready")


def _show_group(shell: Any, kind: type[BaseException], error: Any, at: Any, tb_offset: Any = None) -> None:
    """IPython prints an exception group whole, with every frame, whatever the group says of itself: say it shortly."""
    import traceback

    if hasattr(error, "_render_traceback_"):
        lines = error._render_traceback_()
    else:
        lines = traceback.format_exception(kind, error, at)
    shell._showtraceback(kind, error, lines)
