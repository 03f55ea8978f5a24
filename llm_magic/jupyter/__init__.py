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
    from traitlets import TraitError

    from llm_magic.jupyter import complete
    from llm_magic.jupyter.book_magics import BookMagics
    from llm_magic.jupyter.magics import RouteMagics
    from llm_magic.jupyter.reprs import FORMATS
    from llm_magic.jupyter.session_magics import SessionMagics

    if _loaded:
        unload(shell)
    try:
        magics = RouteMagics(shell)
    except TraitError as error:
        # A bad %config value stays in the shell's configuration and would fail every later load.
        warnings.warn(f"a setting of RouteMagics is not valid and was dropped: {error}", stacklevel=2)
        shell.config.pop("RouteMagics", None)
        magics = RouteMagics(shell)
    kinds = {name: dict(found) for name, found in shell.magics_manager.magics.items()}
    looking_back, books = SessionMagics(shell, magics), BookMagics(shell)
    shell.register_magics(magics, looking_back, books)
    formatter = shell.display_formatter.mimebundle_formatter
    before = {kind: formatter.for_type(kind, show) for kind, show in FORMATS.items()}
    completing = complete.matcher(shell)
    shell.Completer.custom_matchers.append(completing)
    handles_errors = not shell.custom_exceptions
    if handles_errors:
        shell.set_custom_exc((AllAttemptsFailed,), _show_group)
    if hasattr(shell, "kernel"):
        threading.Thread(target=_warm_up, name="llm_magic warm-up", daemon=True).start()
    _loaded.update(magics=[magics, looking_back, books], kinds=kinds, formats=before, handles_errors=handles_errors)
    _loaded["completing"] = completing


def unload(shell: Any) -> None:
    """Take back what `load` changed. The session's router, with its ledger and budget, stays."""
    if not _loaded:
        return
    for magics in _loaded["magics"]:
        for kind, names in magics.magics.items():
            for name in names:
                shell.magics_manager.magics[kind].pop(name, None)
                if name in _loaded["kinds"][kind]:
                    shell.magics_manager.magics[kind][name] = _loaded["kinds"][kind][name]
    _loaded["magics"][1].close()
    shell.configurables[:] = [each for each in shell.configurables if each not in _loaded["magics"]]
    matchers = shell.Completer.custom_matchers
    matchers[:] = [each for each in matchers if each is not _loaded["completing"]]
    formatter = shell.display_formatter.mimebundle_formatter
    for kind, show in _loaded["formats"].items():
        formatter.pop(kind, None)
        if show is not None:
            formatter.for_type(kind, show)
    if _loaded["handles_errors"] and shell.custom_exceptions == (AllAttemptsFailed,):
        shell.set_custom_exc((), None)
    _loaded.clear()


def _warm_up() -> None:
    """Load what the first cell needs, a second's work, while its author is still typing."""
    import genai_prices.data  # noqa: F401 - the price catalogue

    import llm_magic.ledger.queries  # noqa: F401 - the database
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
