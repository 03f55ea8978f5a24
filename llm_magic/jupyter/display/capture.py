"""Outputs that go to an Output widget or to `%%capture`: there, a displayed output can't be updated."""

from __future__ import annotations

import sys
import warnings
from typing import Any


def is_in_output_widget() -> bool:
    """True within `with output:`, `interact`, `@output.capture()`, or a callback that uses one of them."""
    widgets: Any = sys.modules.get("ipywidgets")
    # Without its classes, another thread is still importing it.
    is_loaded = hasattr(widgets, "Widget") and hasattr(widgets, "Output")
    if not is_loaded or (parent := _parent_id()) is None:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # in ipywidgets 8, with no other public list
        existing = list(widgets.Widget.widgets.values())
    return any(isinstance(widget, widgets.Output) and widget.msg_id == parent for widget in existing)


def is_in_a_cell() -> bool:
    return _parent_id() is not None


def is_recorded() -> bool:
    """True within `%%capture` and `capture_output()`."""
    return type(getattr(current_shell(), "display_pub", None)).__name__ == "CapturingDisplayPublisher"


def can_update() -> bool:
    return not (is_in_output_widget() or is_recorded())


def current_shell() -> Any:
    from IPython.core.getipython import get_ipython

    return get_ipython()


def _parent_id() -> str | None:
    shell = current_shell()
    for source in (shell, getattr(shell, "kernel", None)):
        if (get_parent := getattr(source, "get_parent", None)) and (parent := get_parent()):
            return parent.get("header", {}).get("msg_id") or None
    return None
