"""Loading in the background after `%load_ext`, each time in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LOADED = {"tiktoken", "genai_prices.data", "sqlalchemy", "openai", "psutil", "ipywidgets", "markdown_it", "nh3"}
LOAD = """
import sys, threading
from IPython.core.interactiveshell import InteractiveShell
InteractiveShell.pt_app = None  # as in a terminal
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "llm_magic")
"""
WAIT = """
[thread.join() for thread in threading.enumerate() if thread.name == "llm_magic warm-up"]
print(*sorted(sys.modules))
"""
COLLECTIONS = """
import gc
print(*gc.get_count(), gc.get_freeze_count())
"""
WAIT_IN_ORDER = """
[thread.join() for thread in threading.enumerate() if thread.name == "llm_magic warm-up"]
from llm_magic import Ledger, Router
names = ["tiktoken", "genai_prices.data", "sqlalchemy", "openai", "anthropic"]
plan = Router(ledger=Ledger(":memory:")).plan("Write a Python function that adds two numbers.")
print(*(name for name in sys.modules if name in names), plan.candidates[0].model.provider)
"""
RUN_AT_ONCE = """
from llm_magic import Ledger, Router
from llm_magic.errors import AllAttemptsFailed
from llm_magic.execute import RetryPolicy
try:
    router = Router(ledger=Ledger(":memory:"), policy=RetryPolicy(attempts=1))
    router.route_sync("Hello!", model=MODEL)
except AllAttemptsFailed:
    pass
"""
COLD_RUN = """
import asyncio, time
from llm_magic.bridge import bridge
from llm_magic.testing import scripted_router

lags_s = []

async def beat():
    while True:
        before = time.perf_counter()
        await asyncio.sleep(0.005)
        lags_s.append(time.perf_counter() - before)

beating = asyncio.run_coroutine_threadsafe(beat(), bridge.loop())
time.sleep(0.1)
began = time.perf_counter()
router = scripted_router()
router.route_sync("Explain how photosynthesis works.")
print(max(lags_s) / (time.perf_counter() - began))
beating.cancel()
time.sleep(0.1)
"""


def run(code: str, home: Path, **environ: str) -> str:
    environment = os.environ | {"LLM_MAGIC_HOME": str(home), "OPENAI_API_KEY": "sk-none", **environ}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=environment, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def test_modules_of_the_first_cell_are_loaded_in_the_background_and_no_garbage_collection_is_due(
    tmp_path: Path,
) -> None:
    modules, counts = run(LOAD + WAIT + COLLECTIONS, tmp_path).splitlines()[-2:]
    assert set(modules.split()) >= LOADED
    collections_of_youngest, collections_of_middle, frozen = map(int, counts.split()[1:])
    assert collections_of_youngest <= 3
    assert (collections_of_middle, frozen) == (0, 0)


@pytest.mark.parametrize(
    ("keys", "sdks"), [(("OPENAI",), ["openai"]), (("ANTHROPIC",), ["anthropic"]), (("ANTHROPIC", "OPENAI"), None)]
)
def test_the_sdk_of_the_planned_provider_is_loaded_first_and_only_those_with_a_key(
    keys: tuple[str, ...], sdks: list[str] | None, tmp_path: Path
) -> None:
    environ = {f"{name}_API_KEY": "sk-none" if name in keys else "" for name in ("OPENAI", "ANTHROPIC", "DEEPSEEK")}
    *modules, planned = run(LOAD + WAIT_IN_ORDER, tmp_path, LLM_MAGIC_LOCAL="0", **environ).split()
    assert modules[-1] in ("openai", "anthropic"), "after all that they share"
    order = [name for name in modules if name in ("openai", "anthropic")]
    assert order == sdks if sdks else (order[0] == planned and len(order) == 2)


@pytest.mark.parametrize(("model", "sdk"), [("gpt-6-luna", "openai"), ("claude-haiku-5-5", "anthropic")])
def test_a_run_during_the_warm_up_loads_its_own_sdk_first(model: str, sdk: str, tmp_path: Path) -> None:
    environ = {f"{name}_API_KEY": "sk-none" for name in ("OPENAI", "ANTHROPIC")}
    environ |= {f"{name}_BASE_URL": "http://127.0.0.1:1" for name in ("OPENAI", "ANTHROPIC")}
    code = LOAD + RUN_AT_ONCE.replace("MODEL", repr(model)) + "print(*sys.modules)"
    modules = run(code, tmp_path, LLM_MAGIC_LOCAL="0", **environ).split()
    assert next(name for name in modules if name in ("openai", "anthropic")) == sdk


@pytest.mark.parametrize("code", [LOAD, LOAD + 'shell.run_line_magic("reload_ext", "llm_magic")'])
def test_a_quick_exit_ends_the_warm_up(tmp_path: Path, code: str) -> None:
    assert len(run(code, tmp_path).splitlines()) == 1, "the greeting"


def test_the_warm_up_can_be_turned_off(tmp_path: Path) -> None:
    assert not LOADED & set(run(LOAD + WAIT, tmp_path, LLM_MAGIC_WARM_UP="0").split())


def test_a_first_run_without_it_does_not_block_the_event_loop(tmp_path: Path) -> None:
    share_of_the_run = float(run(COLD_RUN, tmp_path))
    assert share_of_the_run < 0.4
