"""Interrupts that arrive while a cell starts its run, and while it ends."""

from __future__ import annotations

import _thread
from typing import Any

import pytest

from llm_magic.jupyter.display.static_view import StaticView
from llm_magic.jupyter.display.terminal_view import TerminalView
from llm_magic.jupyter.run.foreground import Stopped
from llm_magic.routing import Router
from tests.support.shell import Shell


def interrupt_once(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, *, is_after: bool) -> None:
    method = getattr(owner, name)

    def interrupted(*args: Any, **options: Any) -> Any:
        monkeypatch.setattr(owner, name, method)
        if not is_after:
            _thread.interrupt_main()
        value = method(*args, **options)
        if is_after:
            _thread.interrupt_main()
        return value

    monkeypatch.setattr(owner, name, interrupted)


@pytest.mark.parametrize("is_after", [False, True])
def test_an_interrupt_while_the_run_is_started_cancels_it(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, is_after: bool
) -> None:
    shell.run("%%route --tier bulk\nfirst")
    first = shell["_route"]
    interrupt_once(monkeypatch, Router, "job", is_after=is_after)
    _, error = shell.fail("%%route --tier bulk\nsecond")
    assert isinstance(error, Stopped)
    assert shell["_route"] is not first
    assert shell["_route"].outcome == "cancelled"
    assert shell.router.ledger.held_usd == 0
    shell.run("%%route --tier bulk\nthird")


def test_an_interrupt_while_a_finished_run_is_displayed_keeps_the_answer(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    for view in (StaticView, TerminalView):
        interrupt_once(monkeypatch, view, "finish", is_after=False)
    out, error = shell.fail("%%route --tier bulk\nhello")
    assert isinstance(error, KeyboardInterrupt)
    assert "cheap · " in out
    assert shell["_route"].text == "A scripted answer."
    shell.run("%%route --tier bulk\nnext")
