"""Interrupts that arrive while a cell starts its run, and while it ends."""

from __future__ import annotations

import _thread
import asyncio
import re
import threading
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import pytest

from llm_magic.bridge import SETTLE_TIMEOUT_S, Job
from llm_magic.events import TextDelta
from llm_magic.jupyter.display.static_view import StaticView
from llm_magic.jupyter.display.terminal_view import TerminalView
from llm_magic.jupyter.run.foreground import Stopped
from llm_magic.providers.base import ProviderEvent, ProviderRequest
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


def interrupted_at_its_end(job: Job[Any]) -> Iterator[Any]:
    assert job.join(SETTLE_TIMEOUT_S)
    raise KeyboardInterrupt
    yield


def interrupted_after(answering: threading.Event, _: Job[Any]) -> Iterator[Any]:
    assert answering.wait(SETTLE_TIMEOUT_S)
    raise KeyboardInterrupt
    yield


async def waits_forever(request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
    await asyncio.Event().wait()
    yield TextDelta(text="")


@pytest.mark.parametrize("is_after", [False, True])
def test_an_interrupt_while_the_run_is_started_cancels_it(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, is_after: bool
) -> None:
    shell.run("%%route --tier bulk\nfirst")
    first = shell["_route"]
    interrupt_once(monkeypatch, Router, "job", is_after=is_after)
    with monkeypatch.context() as patched:
        patched.setattr(shell.scripted, "stream", waits_forever)
        _, error = shell.fail("%%route --tier bulk\nsecond")
    assert isinstance(error, Stopped)
    assert shell["_route"] is not first
    assert shell["_route"].outcome == "cancelled"
    assert shell.router.ledger.held_usd == 0
    shell.run("%%route --tier bulk\nthird")


def test_an_interrupt_before_the_events_of_a_complete_run_are_read_keeps_the_answer(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Job, "items_with_ticks", interrupted_at_its_end)
    out, error = shell.fail("%%route --tier bulk\nhello")
    assert isinstance(error, Stopped)
    assert "stopped when the answer was complete" in out
    assert (shell["_route"].text, shell["_route"].outcome) == ("A scripted answer.", "ok")
    _, error = shell.fail("%%route --compare cheap,strong\nhello")
    assert isinstance(error, Stopped)
    assert [column.result.text for column in shell["_route"].columns] == ["A scripted answer."] * 2


def test_an_interrupt_before_the_events_of_a_running_answer_are_read_states_its_tokens(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering = threading.Event()

    async def stream(request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        yield TextDelta(text="one two three")
        answering.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(shell.scripted, "stream", stream)
    monkeypatch.setattr(Job, "items_with_ticks", lambda job: interrupted_after(answering, job))
    out, _ = shell.fail("%%route --tier bulk\nhello")
    assert re.search(r"stopped after 3 tokens, about \$0\.\d+", out)
    assert (shell["_route"].text, shell["_route"].outcome) == ("one two three", "cancelled")


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
