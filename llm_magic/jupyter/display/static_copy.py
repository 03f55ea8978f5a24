"""A live widget, and above it the static output that is read where the widget is gone.

JupyterLab saves no widget state, so a reopened notebook has nothing to draw a widget from. It does keep static HTML.
So both are shown: a style within the live widget hides the static twin, and a style within the twin hides a widget that
is not there, "Loading widget…" and all. Two outputs, because a bundle of both is drawn as the dead widget; and the
second one stays, empty, because no message of Jupyter's takes one output of a cell away.
"""

from __future__ import annotations

from typing import Any

from llm_magic.jupyter.render.style import NOTHING, STYLE, sheet

VIEW = "application/vnd.jupyter.widget-view+json"
_DEAD = ".jp-OutputArea-child:has(&)+.jp-OutputArea-child:not(:has(.llmr-live)){display:none}"
"""Hides the widget below, where it is not alive."""
_LATE = "@media screen{&{animation:llmr-late .7s step-end}}@keyframes llmr-late{from{visibility:hidden}}"
"""Hides the twin while the widget may still be coming."""
_GONE = (
    "& .jupyter-widgets-disconnected::before,& .jupyter-button.jupyter-widgets-disconnected{{display:none}}"
    '&.jupyter-widgets-disconnected::before{{content:"As it was when its kernel ended. {}";font:inherit;color:inherit;'
    "padding:0 12px}}"
)
"""Says it once, where ipywidgets puts a broken link before every widget; what can't be pressed any more goes."""


class StaticCopy:
    """`box` is the live widget, `static` a bundle to be read in its place; `more` are rules for the widget.

    `gone` says what to do where the widget is still in the page and its kernel is not.
    """

    def __init__(self, box: Any, *more: str, gone: str = "") -> None:
        import ipywidgets

        style = ipywidgets.HTML()
        self._box, self._style = ipywidgets.VBox([style, box], layout=style.layout), style
        live, self.name = f"llmr-in-{self._box.model_id}", f"llmr-of-{self._box.model_id}"
        self._box.add_class("llmr-live").add_class(live)
        style.value = sheet(live, STYLE, *more, _GONE.format(gone), f".{self.name}{{display:none}}")
        self._static: Any = None
        self._view: Any = None

    def show(self, static: dict[str, str]) -> None:
        """In the cell that is running. Shown again, the earlier static output stays as it is by then."""
        from IPython.display import display

        self._static = display(self._hidden(static, _DEAD, _LATE), raw=True, display_id=True)
        # Not display(box): ipywidgets 7 would lose the display_id.
        view = {"model_id": self._box.model_id, "version_major": 2, "version_minor": 0}
        self._view = display({VIEW: view, "text/plain": ""}, raw=True, display_id=True)

    def update(self, static: dict[str, str]) -> None:
        """Replace what is read where the widget is gone. From any thread."""
        if self._static is not None:
            self._static.update(self._hidden(static, _DEAD), raw=True)

    def freeze(self, static: dict[str, str]) -> None:
        """Leave the static output alone. From any thread."""
        if self._static is not None:
            self._static.update(self._hidden(static), raw=True)
        if self._view is not None:
            self._view.update(NOTHING, raw=True)
        self.close()

    def close(self) -> None:
        """Take the widget down, but not what is in it; the static output comes out."""
        self._box.close()
        close_tree(self._style)

    def _hidden(self, static: dict[str, str], *rules: str) -> dict[str, str]:
        """Not to be seen while the widget is; `rules` are of the two outputs together."""
        if not (html := static.get("text/html", "")):
            return static
        style = sheet(self.name, *rules) if rules else ""
        return {**static, "text/html": f'{style}<div class="llmr-twin {self.name}">{html}</div>'}


def close_tree(widget: Any) -> None:
    """Close a widget with all that is in it, and the two that ipywidgets makes with each and would leave behind."""
    for child in getattr(widget, "children", ()):
        close_tree(child)
    for each in (widget, widget.layout, getattr(widget, "style", None)):
        if each is not None:
            each.close()
