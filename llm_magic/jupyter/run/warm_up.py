"""Loading of what the first cell needs, in the background."""

from __future__ import annotations

import atexit
import importlib
import os
import threading
from contextlib import closing, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llm_magic.providers.base import Provider

_PROMPT = "Write a Python function that merges two sorted lists."


class BackgroundWarmUp:
    """A thread that ends with the process: a quick exit waits for the current step only.

    Not a mere daemon thread: Python's exit stops one in the middle of native code, which can crash.
    """

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="llm_magic warm-up", daemon=True)
        atexit.register(self._end)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def _end(self) -> None:
        self.stop()
        self._thread.join()

    def _run(self) -> None:
        from llm_magic.routing import warm_up

        with suppress(Exception):  # an error in models.toml is reported when the first cell reads it
            warm_up.load(stop=self._stop)
            if not self._stop.is_set():
                warm_up.load_others(_planned_first(), _load_display, stop=self._stop)
        atexit.unregister(self._end)


def _load_display() -> None:
    from llm_magic.jupyter.render.markdown import markdown_to_html

    importlib.import_module("ipywidgets")
    markdown_to_html("```python\npass\n```")


def _planned_first() -> list[Provider]:
    # Planning also loads its modules.
    from llm_magic.ledger import Ledger
    from llm_magic.routing.router import Router

    with closing(Ledger(":memory:")) as ledger:
        router = Router(ledger=ledger)
        planned = (candidate.model.provider for candidate in router.plan(_PROMPT).candidates)
        return [router.providers[name] for name in dict.fromkeys((*planned, *router.providers))]


def start(shell: object) -> BackgroundWarmUp | None:
    """Start the warm-up in a kernel or a terminal, unless LLM_MAGIC_WARM_UP is 0."""
    is_interactive = hasattr(shell, "kernel") or hasattr(shell, "pt_app")
    is_off = os.environ.get("LLM_MAGIC_WARM_UP", "").strip().lower() in ("0", "false", "no", "off")
    return BackgroundWarmUp() if is_interactive and not is_off else None
