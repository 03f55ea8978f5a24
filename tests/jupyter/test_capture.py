"""Runs within Output widgets and `%%capture`, where a displayed output can't be updated."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import ipywidgets
import pytest

from llm_magic.jupyter.display import capture
from llm_magic.jupyter.display.comparison_view import ComparisonView
from llm_magic.jupyter.display.static_view import PlaceholderView, StaticView
from llm_magic.jupyter.display.widget_view import WidgetView
from llm_magic.testing import Reply
from tests.support.display import Display, events_of, state_after
from tests.support.shell import Shell


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> Iterator[ipywidgets.Output]:
    """Put the cell into an Output widget, as `with output:` does in a kernel."""
    parent = {"header": {"msg_id": "the cell"}}
    monkeypatch.setattr(capture, "current_shell", lambda: SimpleNamespace(get_parent=lambda: parent))
    widget = ipywidgets.Output()
    widget.msg_id = "the cell"
    yield widget
    widget.close()


def test_an_output_widget_is_recognized_while_it_captures_this_cell(output: ipywidgets.Output) -> None:
    assert capture.is_in_output_widget()
    output.msg_id = "another cell"
    assert not capture.is_in_output_widget()
    output.msg_id = ""
    assert not capture.is_in_output_widget()


def test_an_output_widget_shows_the_live_widget_alone_which_keeps_the_answer(
    output: ipywidgets.Output, display: Display
) -> None:
    view = WidgetView(freeze=True)
    state = state_after(events_of(Reply(chunks=("Hello ", "**you**"))))
    view.update({"": state})
    view.finish({"": state})
    ((shown,),) = display.places
    assert "application/vnd.jupyter.widget-view+json" in shown
    assert "did not finish" not in str(display.places)
    live = view.live
    assert "<strong>you</strong>" in live.answer_html
    assert "cheap" in live.facts.value
    assert live.box.comm is not None, "it is still open"


def test_a_refused_run_leaves_no_widget_in_an_output_widget(output: ipywidgets.Output, display: Display) -> None:
    view = WidgetView()
    view.finish({})
    assert view.live.box.comm is None


def test_a_comparison_in_an_output_widget_keeps_its_columns(output: ipywidgets.Output, display: Display) -> None:
    view = ComparisonView(("a", "b"))
    state = state_after(events_of(Reply()))
    view.finish({"a": state, "b": state})
    view.freeze()
    assert len(display.places) == 1
    assert "A scripted answer." in view.live["b"].answer_html
    assert view.live["b"].box.comm is not None, "the answers stay, without their buttons"


def test_an_unattended_background_run_is_shown_where_it_is_awaited(output: ipywidgets.Output, display: Display) -> None:
    view = PlaceholderView()
    state = state_after(events_of(Reply()))
    drawing = threading.Thread(target=view.finish, args=({"": state},))
    drawing.start()
    drawing.join()
    assert display.places == []
    view.finish({"": state})
    ((shown,),) = display.places
    assert "A scripted answer." in shown["text/plain"]


def test_a_captured_cell_has_one_output(monkeypatch: pytest.MonkeyPatch, shell: Shell) -> None:
    from llm_magic.jupyter.display import run_view

    monkeypatch.setattr(shell.shell, "kernel", SimpleNamespace(_allow_stdin=True), raising=False)
    shell.run("from IPython.utils.capture import capture_output\nimport llm_magic.jupyter.display.run_view as v")
    shell.run(
        "with capture_output() as seen:\n"
        "    view = type(v.choose_view(get_ipython(), freeze=True, stream=True)).__name__"
    )
    assert shell["view"] == StaticView.__name__
    assert run_view.is_attended(shell.shell)


ASK = "get_ipython().run_cell_magic('route', '--tier bulk{}', 'hello')"
CELLS = {
    "with": f"with out:\n    {ASK.format('')}",
    "background": f"with out:\n    {ASK.format(' --background')}",
    "capture": f"@out.capture()\ndef ask():\n    {ASK.format('')}\nask()",
    "interact": f"def ask(x):\n    {ASK.format('')}\nW.interact(ask, x=[1])",
    "button": f"b = W.Button()\ndef ask(_):\n    with out:\n        {ASK.format('')}\nb.on_click(ask)\nb.click()",
}


@pytest.mark.kernel
@pytest.mark.parametrize("how", CELLS)
def test_in_a_kernel_no_captured_output_is_updated_and_the_widget_has_the_answer(
    kernel: Any, server: Any, how: str
) -> None:
    above = "import ipywidgets as W\nfrom IPython.display import display\nout = W.Output()\ndisplay(out)"
    messages = kernel.run(f"{above}\n{CELLS[how]}\nprint('LATER')") + kernel.run("%route_jobs wait")
    assert "update_display_data" not in [message["msg_type"] for message in messages]
    assert "did not finish" not in str(messages)
    assert "LATER" in str(messages)
    assert kernel.value("bool(_route.text)") == "True"
    values = "[str(getattr(widget, 'value', '')) for widget in W.Widget.widgets.values()]"
    assert kernel.value(f"any(_route.text in value for value in {values})") == "True", "the widget has the answer"


def test_a_module_that_another_thread_is_importing_has_no_output_widgets(
    output: ipywidgets.Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert output.msg_id
    monkeypatch.setitem(sys.modules, "ipywidgets", ModuleType("ipywidgets"))
    assert not capture.is_in_output_widget()
