"""The notebook extension. Only this package imports IPython and ipywidgets."""

from __future__ import annotations

import warnings
from typing import Any

from llm_magic.errors import AllAttemptsFailed

_loaded: dict[str, Any] = {}
"""The changes that loading made, and the previous values that unloading restores."""


def load(shell: Any) -> None:
    """Register the magics, the formatters of plans and results, and the completion."""
    from llm_magic.jupyter.magics import completion, greeting, namespace, transform
    from llm_magic.jupyter.magics.fix import FixMagics
    from llm_magic.jupyter.magics.history import SessionMagics
    from llm_magic.jupyter.magics.ledger import LedgerMagics
    from llm_magic.jupyter.render.bundles import FORMATTERS
    from llm_magic.jupyter.run import warm_up

    if _loaded:
        unload(shell)
    _reload_models()
    manager = shell.magics_manager
    changes: dict[str, Any] = {"kinds": {name: dict(methods) for name, methods in manager.magics.items()}}
    changes["classes"] = dict(manager.registry)
    magics = _configured_magics(shell)
    session, fix = SessionMagics(shell, magics), FixMagics(shell, magics)
    changes["magics"] = [magics, session, fix, LedgerMagics(shell, magics)]
    changes["closed"] = [session.close, fix.close]
    shell.register_magics(*changes["magics"])
    formatter = shell.display_formatter.mimebundle_formatter
    changes["formats"] = [(kind, show, formatter.for_type(kind, show)) for kind, show in FORMATTERS.items()]
    changes["completing"] = completion.matcher(shell)
    shell.Completer.custom_matchers.append(changes["completing"])
    changes["transformers"] = transform.add(shell)
    if not shell.custom_exceptions:
        changes["tracebacks"] = shell.custom_exceptions, shell.CustomTB
        shell.set_custom_exc((AllAttemptsFailed,), _show_failed_run)
    namespace.restore_last(shell)
    changes["warming up"] = warm_up.start(shell)
    _loaded.update(changes)
    greeting.show(shell)


def _reload_models() -> None:
    from llm_magic import routing
    from llm_magic.errors import LLMMagicError

    try:
        routing.reload_models()
    except LLMMagicError as error:
        warnings.warn(f"the models are as before: {error}", stacklevel=4)


def _configured_magics(shell: Any) -> Any:
    """Return the magics with the user's settings. Invalid ones are reported and removed: they would fail every load."""
    from traitlets import TraitError
    from traitlets.config import Config

    from llm_magic.jupyter.magics.route import RouteMagics

    configurables = list(shell.configurables)
    try:
        return RouteMagics(shell)
    except TraitError:
        shell.configurables[:] = configurables  # IPython added the instance that failed
    settings = shell.config.RouteMagics
    for name, value in list(settings.items()):
        try:
            RouteMagics(None).update_config(Config({"RouteMagics": {name: value}}))
        except TraitError as error:
            warnings.warn(f"RouteMagics.{name} = {value!r} is not valid and was ignored: {error}", stacklevel=4)
            del settings[name]
    return RouteMagics(shell)


def unload(shell: Any) -> None:
    """Undo the changes of `load`, except for entries that other code has replaced since.

    The session's router stays, with its ledger and budget, and so do the user's variables.
    """
    if not _loaded:
        return
    from llm_magic.jupyter.magics import namespace, transform

    manager = shell.magics_manager
    for magics in _loaded["magics"]:
        for kind, names in magics.magics.items():
            for name, method in names.items():
                _restore(manager.magics[kind], name, method, _loaded["kinds"][kind].get(name))
        name = type(magics).__name__
        _restore(manager.registry, name, magics, _loaded["classes"].get(name))
    for close in _loaded["closed"]:
        close()
    shell.configurables[:] = [entry for entry in shell.configurables if entry not in _loaded["magics"]]
    matchers = shell.Completer.custom_matchers
    matchers[:] = [matcher for matcher in matchers if matcher is not _loaded["completing"]]
    transform.remove(_loaded["transformers"])
    formatter = shell.display_formatter.mimebundle_formatter
    for kind, formatter_of_kind, previous in _loaded["formats"]:
        _restore(formatter.type_printers, kind, formatter_of_kind, previous)
    if shell.custom_exceptions == (AllAttemptsFailed,) and "tracebacks" in _loaded:
        shell.custom_exceptions, shell.CustomTB = _loaded["tracebacks"]
    namespace.remove_last(shell)
    if _loaded["warming up"] is not None:
        _loaded["warming up"].stop()
    _loaded.clear()


def _restore(table: dict[Any, Any], key: Any, added: Any, previous: Any) -> None:
    """Restore an entry, unless other code has replaced the one that was added."""
    if table.get(key) is not added:
        return
    if previous is None:
        del table[key]
    else:
        table[key] = previous


def _show_failed_run(shell: Any, kind: type[BaseException], error: Any, tb: Any, tb_offset: Any = None) -> None:
    """Show an AllAttemptsFailed in one line: IPython would print every frame of the exception group."""
    import traceback

    if hasattr(error, "_render_traceback_"):
        lines = error._render_traceback_()
    else:
        lines = traceback.format_exception(kind, error, tb)
    shell._showtraceback(kind, error, lines)
