"""The view of a run with live widgets, which static output replaces at the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from llm_magic.jupyter.display.live_view import FRAME_S, FrameLimiter, LiveView
from llm_magic.jupyter.display.static_copy import StaticCopy
from llm_magic.jupyter.render import bundles
from llm_magic.jupyter.render.run_state import RunStates, Verbosity


class WidgetView:
    """Shows the widget of a run. The output says from the start that the run did not finish: a dead kernel can't."""

    verbosity: Verbosity = "normal"

    def __init__(
        self, *, freeze: bool = True, stream: bool = True, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._freeze = freeze
        self.live = LiveView(stream=stream)
        self.box = self.live.box
        self._models = list[str]()
        self._limiter = FrameLimiter(FRAME_S, monotonic)
        self.static_copy = StaticCopy(self.box)
        self.static_copy.show(bundles.unfinished(self._models))

    def update(self, states: RunStates) -> None:
        self._name_model(states)
        (state,) = states.values()
        self._limiter.draw(partial(self.live.draw, state))

    def finish(self, states: RunStates) -> None:
        if (self._freeze and self.static_copy.is_shown) or not any(state.plan is not None for state in states.values()):
            self.static_copy.freeze(bundles.runs(states))
            self.live.close()
            return
        (state,) = states.values()
        self.live.finish(state)
        self.static_copy.update(bundles.runs(states))

    def _name_model(self, states: RunStates) -> None:
        models = [state.current.model.id for state in states.values() if state.current is not None]
        if models != self._models:
            self._models = models
            self.static_copy.update(bundles.unfinished(models))
