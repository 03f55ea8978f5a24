"""Views that produce one static output at the end."""

from __future__ import annotations

import threading

from llm_magic.jupyter.display.capture import can_update
from llm_magic.jupyter.render import bundles
from llm_magic.jupyter.render.run_state import RunStates, Verbosity


class StaticView:
    verbosity: Verbosity = "normal"

    def update(self, states: RunStates) -> None:
        pass

    def finish(self, states: RunStates) -> None:
        from IPython.display import display

        if (bundle := bundles.runs(states)) != bundles.NOTHING:
            display(bundle, raw=True)


class PlaceholderView:
    """Displays a placeholder at once, in the cell that is running, and replaces it by the finished run.

    In an output that can't be updated, the run is displayed in the cell that waits for it.
    """

    verbosity: Verbosity = "normal"

    def __init__(self) -> None:
        from IPython.display import display

        self._handle = (
            display({"text/plain": "running in the background"}, raw=True, display_id=True) if can_update() else None
        )

    def update(self, states: RunStates) -> None:
        pass

    def finish(self, states: RunStates) -> None:
        if self._handle is not None:
            self._handle.update(bundles.runs(states), raw=True)
        elif threading.current_thread() is threading.main_thread():
            StaticView().finish(states)
