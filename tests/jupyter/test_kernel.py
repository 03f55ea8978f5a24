"""A real ipykernel: streaming while the cell runs, the stop button, queued cells, asyncio, nest_asyncio, and no trace of a key."""

from __future__ import annotations

import re
import sys
import threading
import time
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

from llm_magic import Ledger
from tests.support import loopback
from tests.support.kernel import WAIT_S, Kernel
from tests.support.loopback import Answer, Fault


def shown(message: dict[str, Any]) -> str:
    """Return the HTML that a message displays, in an output or in a live widget."""
    content = message["content"]
    state = content.get("data", {}).get("state", {}) if message["msg_type"].startswith("comm") else {}
    return str(state.get("value") or content.get("data", {}).get("text/html") or "")


def frozen(messages: list[dict[str, Any]]) -> dict[str, str]:
    """Return the static output that replaced the widget."""
    static, view = [message for message in messages if message["msg_type"] == "display_data"]
    assert "application/vnd.jupyter.widget-view+json" not in static["content"]["data"]
    assert "application/vnd.jupyter.widget-view+json" in view["content"]["data"]
    updates = [message for message in messages if message["msg_type"] == "update_display_data"]
    *_, last = [update for update in updates if update["content"]["transient"] == static["content"]["transient"]]
    (rest,) = [update for update in updates if update["content"]["transient"] == view["content"]["transient"]]
    assert rest["content"]["data"] == {"text/html": ""}
    return last["content"]["data"]


def test_the_answer_streams_while_the_cell_runs_and_is_frozen(kernel: Kernel, server: loopback.Server) -> None:
    gate = threading.Event()
    server.script("deepseek-v3", Answer(chunks=("first ", "second"), gate=gate))
    cell = kernel.send("%%route --tier bulk\nhello")
    messages: list[dict[str, Any]] = []
    for message in kernel.messages(cell):
        messages.append(message)
        if "<p>first" in shown(message) and not gate.is_set():
            assert server.journal[0].ended != "whole", "displayed before the server had finished"
            gate.set()
    assert gate.is_set()
    bundle = frozen(messages)
    assert set(bundle) == {"text/html", "text/markdown", "text/plain"}
    for rendered in bundle.values():
        assert "first second" in rendered
        assert "deepseek-v3" in rendered
    assert kernel.value("_route.text") == "'first second'"


def test_the_stop_button_cancels_settles_and_the_next_cell_works(kernel: Kernel, server: loopback.Server) -> None:
    server.script("claude-opus-4-7", Answer(gate=threading.Event()))
    cell = kernel.send("%%route --tier complex\nhello")
    stopped_at = 0.0
    messages: list[dict[str, Any]] = []
    for message in kernel.messages(cell):
        messages.append(message)
        if "<p>The" in shown(message) and not stopped_at:
            stopped_at = time.monotonic()
            kernel.manager.interrupt_kernel()
    server.wait_until(lambda: server.journal[-1].ended == "disconnected")
    (error,) = [message["content"] for message in messages if message["msg_type"] == "error"]
    assert error["ename"] == "Stopped"
    (line,) = error["traceback"]
    assert re.fullmatch(r"stopped after \d+ tokens, about \$0\.00\d+", line)
    assert line in frozen(messages)["text/plain"]
    assert kernel.value("llm_magic.router().ledger.held_usd == 0") == "True"
    assert kernel.value("llm_magic.router().ledger.rows()[-1].outcome") == "'cancelled'"
    assert (
        kernel.value("llm_magic.router().circuit(llm_magic.router().registry['claude-opus-4-7']).state") == "'closed'"
    )
    assert "The answer is 42." in frozen(kernel.run("%%route --tier bulk\nhello"))["text/plain"]


ENDINGS = """
endings = []
def note_ending(_):
    ledger = llm_magic.router().ledger
    endings.append((ledger.held_usd == 0, ledger.rows()[-1].outcome if ledger.rows() else ""))
get_ipython().events.register("post_run_cell", note_ending)
"""


def test_after_a_stop_messages_are_in_order_and_none_is_late(kernel: Kernel, server: loopback.Server) -> None:
    """The run is settled, then drawn; the error follows, then idle. Text that the provider sends later is dropped."""
    gate = threading.Event()
    server.script("claude-opus-4-7", Answer(chunks=("The ", "tardy ", "words"), gate=gate))
    kernel.run(ENDINGS)
    try:
        cell = kernel.send("%%route --tier complex\nhello")
        messages: list[dict[str, Any]] = []
        for message in kernel.messages(cell):
            messages.append(message)
            if "<p>The" in shown(message) and len([seen for seen in messages if "<p>The" in shown(seen)]) == 1:
                kernel.manager.interrupt_kernel()
        # Idle from here on.
        kinds = [message["msg_type"] for message in messages]
        drawn = max(number for number, message in enumerate(messages) if "stopped after" in shown(message))
        assert drawn < kinds.index("error")
        assert set(kinds[kinds.index("error") + 1 :]) <= {"status"}, "the error comes last"
        server.wait_until(lambda: server.journal[-1].ended == "disconnected")
        gate.set()
        after = kernel.send("endings[-1]")
        late: list[dict[str, Any]] = []
        while not late or late[-1]["msg_type"] != "execute_result":
            late.append(kernel.client.get_iopub_msg(timeout=WAIT_S))
        assert {message["parent_header"]["msg_id"] for message in late} == {after}
        assert late[-1]["content"]["data"]["text/plain"] == "(True, 'cancelled')", "when the cell ended, before idle"
        assert not [message for message in messages if "tardy" in shown(message)]
        assert server.journal[-1].output == 1
    finally:
        kernel.run("get_ipython().events.unregister('post_run_cell', note_ending)")
    assert "The answer is 42." in frozen(kernel.run("%%route --tier bulk\nhello"))["text/plain"]


def test_an_interrupt_before_the_first_token_stops_the_cell_and_settles(
    kernel: Kernel, server: loopback.Server
) -> None:
    server.script("deepseek-v3", loopback.Broken(how="silent", chunks=()))
    cell = kernel.send("%%route --tier bulk\nhello")
    server.wait_until(lambda: bool(server.journal))
    kernel.manager.interrupt_kernel()
    errors = [message["content"] for message in kernel.messages(cell) if message["msg_type"] == "error"]
    assert errors[0]["ename"] == "Stopped"
    assert kernel.value("llm_magic.router().ledger.held_usd == 0") == "True"


def test_queued_cells_run_one_after_the_other(kernel: Kernel, server: loopback.Server) -> None:
    first = kernel.send("%%route --tier bulk --out one\nhello")
    second = kernel.send("%%route --tier structured --out two\nhello")
    for cell in (first, second):
        assert "The answer is 42." in frozen(list(kernel.messages(cell)))["text/plain"]
    assert kernel.value("(one.model, two.model)") == "('deepseek-v3', 'gpt-5.5')"


ASYNC = """
import asyncio
awaited = await router.route("hello", tier="bulk")
plain = router.route_sync("hello", tier="bulk")
several = await asyncio.gather(*[router.route("hello", tier="bulk") for _ in range(5)])
"""


def test_async_and_sync_calls_work_after_a_magic(kernel: Kernel, server: loopback.Server) -> None:
    kernel.run("%route --tier bulk hello")
    kernel.run("router = llm_magic.router()" + ASYNC)
    assert kernel.value("[awaited.text, plain.text, len(several)]") == "['The answer is 42.', 'The answer is 42.', 5]"


LONG = """
from llm_magic import Ledger, Registry, Router
from llm_magic.testing import Reply, ScriptedProvider
usual = llm_magic.router()
paragraph = "The quick brown fox jumps over the lazy dog, and so on and on, until the day is done. \\n\\n```python\\nx = 1\\n```\\n\\n"
words = [word + " " for word in paragraph.split(" ")]
def long(tokens):
    reply = Reply(chunks=tuple((words * (tokens // len(words) + 1))[:tokens]))
    providers = dict.fromkeys(("anthropic", "openai", "deepseek"), ScriptedProvider([reply]))
    llm_magic.use_router(Router(registry=Registry.load("article"), providers=providers, ledger=Ledger(":memory:")))
"""


def test_traffic_grows_linearly_and_an_answer_of_fifty_thousand_tokens_is_displayed(kernel: Kernel) -> None:
    kernel.run(LONG)
    try:
        sizes: list[int] = []
        for tokens in (5_000, 50_000):
            kernel.run(f"long({tokens})")
            started = time.monotonic()
            messages = kernel.run("%%route --tier bulk\nhello")
            took = time.monotonic() - started
            sizes.append(sum(len(str(message["content"])) for message in messages))
            # Per drawing: the head, the text, at times a new block and its place in the list.
            assert len(messages) < 40 + 20 * 4 * took
            assert kernel.value("1 + 1") == "2"
        assert kernel.value("_route.usage.output_tokens > 0 and len(_route.text) > 200_000") == "True"
        assert sizes[1] < 15 * sizes[0]
        assert sizes[1] < 60 * int(kernel.value("len(_route.text)"))
    finally:
        kernel.run("_ = llm_magic.use_router(usual)")


def test_an_error_is_one_line_and_fails_the_cell(kernel: Kernel, server: loopback.Server) -> None:
    for model in ("claude-opus-4-7", "claude-sonnet-4-6", "gpt-5.5"):
        server.script(
            model, Fault(status=401, message=f"Incorrect API key: {loopback.KEY}-anthropic, {loopback.KEY}-openai")
        )
    messages = list(kernel.messages(kernel.send("%%route --tier complex\nhello")))
    (error,) = [message["content"] for message in messages if message["msg_type"] == "error"]
    assert error["ename"] == "AllAttemptsFailed"
    assert len(error["traceback"]) == 1
    assert "claude-opus-4-7: auth failed (HTTP 401: Incorrect API key: [key]" in error["traceback"][0]
    assert f"{loopback.KEY}-anthropic" not in str(error["traceback"][0]).split("claude-sonnet")[0]


def test_a_background_run_updates_its_own_cell_while_other_cells_run(kernel: Kernel, server: loopback.Server) -> None:
    gate = threading.Event()
    server.script("deepseek-v3", Answer(chunks=("first ", "second"), gate=gate))
    begun = kernel.run("%%route --tier bulk --background --out later\nhello")
    place, _ = [message["content"]["transient"] for message in begun if message["msg_type"] == "display_data"]
    assert kernel.value("(1 + 1, later.done())") == "(2, False)"
    gate.set()
    while True:
        message = kernel.client.get_iopub_msg(timeout=WAIT_S)
        if message["msg_type"] == "update_display_data" and message["content"]["transient"] == place:
            break
    assert "first second" in message["content"]["data"]["text/html"]
    assert kernel.value("later.text") == "'first second'"


def test_the_stop_button_does_not_stop_background_runs(kernel: Kernel, server: loopback.Server) -> None:
    gate = threading.Event()
    server.script("deepseek-v3", Answer(chunks=("first ", "second"), gate=gate))
    kernel.run("%%route --tier bulk --background --out later\nhello")
    cell = kernel.send("print('waiting', flush=True)\n%route_jobs wait")
    errors: list[str] = []
    for message in kernel.messages(cell):
        if message["msg_type"] == "stream":
            kernel.manager.interrupt_kernel()
        elif message["msg_type"] == "error":
            errors.append(message["content"]["ename"])
    assert errors in (["Stopped"], ["KeyboardInterrupt"]), "KeyboardInterrupt if it arrived before the waiting began"
    gate.set()
    kernel.run("%route_jobs wait")
    assert kernel.value("later.text") == "'first second'"


def test_nest_asyncio_applied_by_the_user_changes_nothing(kernel_of_its_own: Kernel, server: loopback.Server) -> None:
    kernel = kernel_of_its_own
    kernel.run("import nest_asyncio\nnest_asyncio.apply()")
    kernel.run("router = llm_magic.router()" + ASYNC)
    kernel.run(
        "def nested():\n    return asyncio.get_event_loop().run_until_complete(router.route('hello', tier='bulk'))\nnested()"
    )
    test_the_stop_button_cancels_settles_and_the_next_cell_works(kernel, server)


STARTED = """
import llm_magic
while not llm_magic.router().ledger.rows() or _route.state.text == "":
    time.sleep(0.01)
"""


def test_a_headless_notebook_has_one_static_output_and_no_widget(headless: Any) -> None:
    notebook = headless("%load_ext llm_magic", "%%route --tier bulk\nhello")
    (output,) = notebook.cells[1].outputs
    assert set(output.data) == {"text/html", "text/markdown", "text/plain"}
    assert "widgets" not in notebook.metadata


def test_in_a_headless_notebook_the_waiting_cell_draws_the_answers_in_their_own_cells(headless: Any) -> None:
    notebook = headless(
        "%load_ext llm_magic",
        "%%route --tier bulk --background\nhello",
        "%%route --tier structured --background\nhello",
        "%route_jobs wait",
    )
    for cell, model in ((1, "deepseek-v3"), (2, "gpt-5.5")):
        (output,) = notebook.cells[cell].outputs
        assert "The answer is 42." in output.data["text/html"]
        assert model in output.data["text/plain"]
    assert notebook.cells[3].outputs == []


def test_a_kernel_that_is_shut_down_settles_its_background_runs(
    headless: Any, server: loopback.Server, tmp_path: Path
) -> None:
    server.script("deepseek-v3", Answer(gate=threading.Event()))
    headless("%load_ext llm_magic", "%%route --tier bulk --background\nhello", f"import time\n{STARTED}")
    ledger = Ledger(tmp_path / "ledger.db")
    assert [row.outcome for row in ledger.rows()] == ["cancelled"]
    assert ledger.uncertain() == []
    ledger.close()


def test_a_wrong_option_stops_run_all(headless: Any) -> None:
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="unrecognized arguments: --nope"):
        headless("%load_ext llm_magic", "%%route --nope\nhello", "print('not reached')")


def test_no_key_reaches_the_notebook_the_ledger_or_the_log(
    headless: Any, server: loopback.Server, tmp_path: Path
) -> None:
    """Runs every magic, with providers that repeat the key in their errors."""
    keys = [value for name, value in server.environment().items() if name.endswith("_KEY")]
    server.script("gpt-5.5", Fault(status=401, message=f"bad key {loopback.KEY}-openai"))
    server.script("claude-opus-4-7", Fault(status=429, message=f"slow down, {loopback.KEY}-anthropic"))
    (tmp_path / "notes.txt").write_text("notes")
    log, table = tmp_path / "everything.log", tmp_path / "ledger.csv"
    notebook = headless(
        f"import logging\nlogging.basicConfig(level=logging.DEBUG, filename={str(log)!r})",
        "%load_ext llm_magic\nimport llm_magic, pandas as pd\nframe = pd.DataFrame({'a': [1]})",
        f"%%route --tier structured --attach {tmp_path / 'notes.txt'} --attach {{{{frame}}}} --thread t --cache\nhello",
        f"%%route --tier structured --attach {tmp_path / 'notes.txt'} --attach {{{{frame}}}} --cache\nhello",
        "%%route --compare gpt-5.5,claude-opus-4-7,deepseek-v3\nhello",
        "_route, vars(llm_magic.router())",
        "%%route --tier complex --background --out later --thread t\nhello",
        "%route_jobs wait",
        "later, later.attempts, later.path",
        "%%route --compare gpt-5.5,claude-opus-4-7\nhello",
        "%%route --model gpt-5.5 --background --out lost --max-cost 0.0000001\nhello",
        "%route_jobs wait",
        "lost, lost.error, lost.result()",
        "%route_jobs",
        "%route_threads",
        "%route_threads t",
        "%route_report",
        "%route_panel",
        "%route_ledger",
        "%route_models",
        "%route_budget",
        "%route_cache",
        "%route_tune",
        "%route_plan --thread t hello",
        "%route_again --model gpt-5.5",
        "%config RouteMagics",
        f"llm_magic.router().ledger.to_csv({str(table)!r})",
        "llm_magic.router(), llm_magic.router().providers, vars(llm_magic.router())",
        "llm_magic.router().route_sync('')",
        allow_errors=True,
    )
    kept = nbformat.writes(notebook) + log.read_text() + table.read_text()
    kept += "".join(path.read_bytes().decode("latin-1") for path in tmp_path.glob("ledger.db*"))
    for fact in ("bad key [key]", "slow down, [key]", "auth failed", "rate limited", "notes.txt", "frame", "cached"):
        assert fact in kept, fact
    assert "BudgetExceeded" in nbformat.writes(notebook)
    for key in keys:
        assert key not in kept


def test_no_key_reaches_a_log_or_a_traceback(headless: Any, server: loopback.Server, tmp_path: Path) -> None:
    """Even with debug logging, and with tracebacks that show the values of variables."""
    keys = [value for name, value in server.environment().items() if name.endswith("_KEY")]
    for name in ("claude-opus-4-7", "claude-sonnet-4-6"):
        server.script(name, Fault(status=401, message=f"bad key {loopback.KEY}-anthropic"))
    server.script("gpt-5.5", loopback.Broken(how="malformed"))
    server.script("deepseek-v3", loopback.Fault(status=401, message=f"bad key {loopback.KEY}-deepseek"))
    log = tmp_path / "everything.log"
    failing = (
        "llm_magic.router().route_sync('hello', tier='complex')",
        "await llm_magic.router().route('hello', tier='complex')",
        "%%route --tier complex\nhello",
        "try:\n    llm_magic.router().route_sync('hello', tier='structured')\nexcept Exception as error:\n"
        "    for cause in getattr(error, 'exceptions', [error]):\n        raise cause",
        "import traceback\ntraceback.print_exc()",
    )
    notebook = headless(
        f"import logging\nlogging.basicConfig(level=logging.DEBUG, filename={str(log)!r})",
        "%load_ext llm_magic\nimport llm_magic",
        "%xmode Context",
        *failing,
        "%xmode Verbose",
        *failing,
        allow_errors=True,
    )
    kept = nbformat.writes(notebook)
    # Later runs pass the providers over whose keys were refused.
    assert len(re.findall("AllAttemptsFailed|NoCandidate", kept)) >= 4
    assert "anthropic" in log.read_text()
    for key in keys:
        assert key not in kept
        assert key not in log.read_text()


def test_the_kernel_runs_this_python(kernel: Kernel) -> None:
    assert kernel.value("import sys; sys.executable") == repr(sys.executable)
