"""Time from Enter to the first request of a new kernel, after `%load_ext llm_magic` and with the raw SDK."""

from __future__ import annotations

import os
import socket
import statistics
import time
from collections.abc import Generator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

import psutil
from jupyter_client.manager import KernelManager

from benchmarks.calls import MODELS, PROMPT
from benchmarks.table import Row, show

ROUNDS = 3
LIMIT_S = 60.0
LOAD = "%load_ext llm_magic"
WARM = "import threading; [thread.join() for thread in threading.enumerate() if thread.name == 'llm_magic warm-up']"
ROUTE = "%%route\n" + PROMPT
MESSAGES = [{"role": "user", "content": PROMPT}]
RAW = {
    "openai": "import openai; openai.OpenAI(max_retries=0).chat.completions.create",
    "anthropic": "import anthropic; anthropic.Anthropic(max_retries=0).messages.create",
}
KEYS = (("openai",), ("anthropic",), ("openai", "anthropic"))


def main() -> None:
    """Print medians of the time, and of the CPU time of the kernel, which depends less on the machine's load."""
    rows: list[Row] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(LIMIT_S)
        rows += [_measure(apis, listener) for apis in KEYS]
    header = ("keys", "raw SDK: ms", "CPU, s", "at once: ms", "CPU, s", "ratio", "after the warm-up: ms", "CPU, s")
    show("From Enter to the first request of a new kernel", header, rows)


def _measure(apis: tuple[str, ...], listener: socket.socket) -> Row:
    raw = f"{RAW[apis[0]]}(model={MODELS[apis[0]]!r}, messages={MESSAGES!r}, max_tokens=500)"
    cases = {"raw": (raw,), "at once": (LOAD, ROUTE), "warm": (LOAD, WARM, ROUTE)}
    wall_ms: dict[str, list[float]] = {case: [] for case in cases}
    cpu_s: dict[str, list[float]] = {case: [] for case in cases}
    for _ in range(ROUNDS):  # alternating, so that noise affects all of them
        for case, cells in cases.items():
            wall, cpu = _first_request(cells, listener, _environment(apis, listener))
            wall_ms[case].append(1e3 * wall)
            cpu_s[case].append(cpu)
    texts = [(f"{statistics.median(wall_ms[case]):.0f}", f"{statistics.median(cpu_s[case]):.2f}") for case in cases]
    ratio = statistics.median(cpu_s["at once"]) / statistics.median(cpu_s["raw"])
    return (" and ".join(apis), *texts[0], *texts[1], f"{ratio:.2f}", *texts[2])


def _environment(apis: tuple[str, ...], listener: socket.socket) -> dict[str, str]:
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    own = {
        f"{api.upper()}_{name}": value for api in apis for name, value in (("API_KEY", "sk-none"), ("BASE_URL", url))
    }
    others = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    return others | own | {"LLM_MAGIC_LOCAL": "0"}


def _first_request(cells: tuple[str, ...], listener: socket.socket, environment: dict[str, str]) -> tuple[float, float]:
    """Run the cells in a new kernel. Return the time and the CPU time from the last one's start to its connection."""
    with _kernel(environment) as (process, client):
        for cell in cells[:-1]:
            client.execute_interactive(cell, timeout=LIMIT_S, output_hook=_ignore)
        began, cpu_before_s = time.perf_counter(), _cpu_s(process)
        client.execute(cells[-1])
        connection, _ = listener.accept()
        spent_s = time.perf_counter() - began, _cpu_s(process) - cpu_before_s
        connection.close()
        return spent_s


def _ignore(message: object) -> None:
    """Show no output."""


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


@contextmanager
def _kernel(environment: dict[str, str]) -> Generator[tuple[psutil.Process, Any]]:
    with TemporaryDirectory() as home:
        manager: Any = KernelManager(kernel_name="python3")
        manager.start_kernel(env=environment | {"LLM_MAGIC_HOME": home}, extra_arguments=["--log-level=40"])
        client = manager.client()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=LIMIT_S)
            yield psutil.Process(manager.provisioner.pid), client
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
