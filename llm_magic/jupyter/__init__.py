"""The notebook face: the only room that knows IPython and ipywidgets."""

from __future__ import annotations

import warnings
from typing import Any

_loaded: dict[str, Any] = {}
"""What loading changed, so that unloading restores exactly that."""


def load(shell: Any) -> None:
    """Register the magics and how plans and results are shown."""
    from traitlets import TraitError

    from llm_magic.jupyter.magics import RouteMagics
    from llm_magic.jupyter.reprs import FORMATS

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
    shell.register_magics(magics)
    formatter = shell.display_formatter.mimebundle_formatter
    before = {kind: formatter.for_type(kind, show) for kind, show in FORMATS.items()}
    _loaded.update(magics=magics, kinds=kinds, formats=before)


def unload(shell: Any) -> None:
    """Take back what `load` changed. The session's router, with its ledger and budget, stays."""
    if not _loaded:
        return
    magics = _loaded["magics"]
    for kind, names in magics.magics.items():
        for name in names:
            shell.magics_manager.magics[kind].pop(name, None)
            if name in _loaded["kinds"][kind]:
                shell.magics_manager.magics[kind][name] = _loaded["kinds"][kind][name]
    shell.configurables[:] = [each for each in shell.configurables if each is not magics]
    formatter = shell.display_formatter.mimebundle_formatter
    for kind, show in _loaded["formats"].items():
        formatter.pop(kind, None)
        if show is not None:
            formatter.for_type(kind, show)
    _loaded.clear()
