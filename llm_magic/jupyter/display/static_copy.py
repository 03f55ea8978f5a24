"""Static output next to a live widget, for notebooks that are saved and opened without a kernel.

JupyterLab does not save widget state, so a reopened notebook can't draw the widget. Static HTML is saved. Both are
displayed: a style in the live widget hides the static copy, and a style in the copy hides a widget that can't be drawn,
with its "Loading widget…" message. They are two outputs because a bundle of both would be drawn as the broken widget.
The second output stays, empty, because Jupyter has no message that removes a single output of a cell.
"""

from __future__ import annotations

from typing import Any

from llm_magic.jupyter.display.capture import is_in_output_widget
from llm_magic.jupyter.render.bundles import NOTHING, Bundle
from llm_magic.jupyter.render.style import STYLE, sheet

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
_HIDE_DEAD_WIDGET = ".jp-OutputArea-child:has(&)+.jp-OutputArea-child:not(:has(.llmr-live)){display:none}"
# The widget may still be drawn in this time.
_SHOW_LATE = "@media screen{&{animation:llmr-late .7s step-end}}@keyframes llmr-late{from{visibility:hidden}}"
# Replaces the broken-link signs of ipywidgets by one sentence, and hides buttons that no longer work.
_DISCONNECTED = (
    "& .jupyter-widgets-disconnected::before,& .jupyter-button.jupyter-widgets-disconnected{{display:none}}"
    '&.jupyter-widgets-disconnected::before{{content:"Last state before the kernel ended. {}";font:inherit;'
    "color:inherit;padding:0 12px}}"
)


class StaticCopy:
    """The static copy of the widget `box`. `rules` are additional style rules for the widget.

    `disconnected_hint` is displayed when the kernel has ended while the widget is still in the page.
    """

    def __init__(self, box: Any, *rules: str, disconnected_hint: str = "") -> None:
        import ipywidgets

        style = ipywidgets.HTML()
        self._box, self.style = ipywidgets.VBox([style, box], layout=style.layout), style
        live_class, self.css_class = f"llmr-in-{self._box.model_id}", f"llmr-of-{self._box.model_id}"
        self._box.add_class("llmr-live").add_class(live_class)
        disconnected = _DISCONNECTED.format(disconnected_hint)
        style.value = sheet(live_class, STYLE, *rules, disconnected, f".{self.css_class}{{display:none}}")
        self._copy_handle: Any = None
        self._widget_handle: Any = None

    @property
    def is_shown(self) -> bool:
        """False within an Output widget, which shows the widget alone, because its outputs can't be updated."""
        return self._copy_handle is not None

    def show(self, copy: Bundle) -> None:
        from IPython.display import display

        if is_in_output_widget():
            display({WIDGET_VIEW: self._view(), "text/plain": ""}, raw=True)
            return
        self._copy_handle = display(self._hidden(copy, _HIDE_DEAD_WIDGET, _SHOW_LATE), raw=True, display_id=True)
        # Not display(box): ipywidgets 7 would lose the display_id.
        self._widget_handle = display({WIDGET_VIEW: self._view(), "text/plain": ""}, raw=True, display_id=True)

    def update(self, copy: Bundle) -> None:
        if self._copy_handle is not None:
            self._copy_handle.update(self._hidden(copy, _HIDE_DEAD_WIDGET), raw=True)

    def freeze(self, copy: Bundle) -> None:
        if self._copy_handle is not None:
            self._copy_handle.update(self._hidden(copy), raw=True)
        if self._widget_handle is not None:
            self._widget_handle.update(NOTHING, raw=True)
        self.close()

    def _view(self) -> dict[str, Any]:
        return {"model_id": self._box.model_id, "version_major": 2, "version_minor": 0}

    def close(self) -> None:
        """Close the outer widget, which makes the static copy visible. `box` stays open."""
        self._box.close()
        close_tree(self.style)

    def _hidden(self, copy: Bundle, *rules: str) -> Bundle:
        if not (html := copy.get("text/html", "")):
            return copy
        style = sheet(self.css_class, *rules) if rules else ""
        return {**copy, "text/html": f'{style}<div class="llmr-twin {self.css_class}">{html}</div>'}


def close_tree(widget: Any) -> None:
    """Close a widget, its children, and the layout and style widgets that ipywidgets would leave open."""
    for child in getattr(widget, "children", ()):
        close_tree(child)
    for part in (widget, widget.layout, getattr(widget, "style", None)):
        if part is not None:
            part.close()
