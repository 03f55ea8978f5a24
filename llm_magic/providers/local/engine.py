"""The inference engine of the embedded model: a child process that serves it on loopback, and a handle to the child.

A child process, because a crash in native code must not crash the kernel. It reads its settings, including the API key,
as one line of JSON from stdin (process lists show arguments), answers with one line of JSON on stdout, and runs until
stdin is closed, which the operating system also does if the parent is killed.
"""

from __future__ import annotations

import importlib
import json
import os
import secrets
import select
import signal
import subprocess
import sys
import threading
import weakref
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llm_magic.errors import LocalModelUnavailable
from llm_magic.home import child_environment
from llm_magic.providers.local.resources import usable_cores

# Prompt and answer together.
CONTEXT_TOKENS = 4096
_SLEEP_AFTER_S = 300
_START_TIMEOUT_S = 120
_STOP_TIMEOUT_S = 3
_PARENT_CHECK_INTERVAL_S = 5

# Not `-m`, which would let files in the working folder (say, a random.py) shadow the standard library.
CHILD_CODE = "import sys; sys.path.append(sys.argv[1]); from llm_magic.providers.local.engine import main; main()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    model_path: str
    name: str
    api_key: str
    threads: int
    context_tokens: int


class Engine:
    """A running engine, as a handle for its parent. Ended by `stop`, at exit, or when garbage-collected."""

    def __init__(self, *, name: str, base_url: str, api_key: str, process: subprocess.Popen[str]) -> None:
        self.name = name
        self.base_url = base_url
        self.api_key = api_key
        self.process = process
        self._end = weakref.finalize(self, _end, process)

    def alive(self) -> bool:
        return self.process.poll() is None

    def stop(self) -> None:
        self._end()


def start(model: Path, name: str, *, context_tokens: int = CONTEXT_TOKENS) -> Engine:
    """Start an engine that serves the GGUF file `model` as `name`, and wait until it answers. Blocks for about 2 s.

    Raises LocalModelUnavailable.
    """
    settings = Settings(
        model_path=str(model.absolute()),
        name=name,
        api_key=secrets.token_urlsafe(32),
        # One core is left to the notebook: with a busy core, one more thread makes the engine slower, not faster.
        threads=max(1, usable_cores() - 1),
        context_tokens=context_tokens,
    )
    process = _spawn()
    try:
        base_url = _handshake(process, settings)
    except BaseException:
        _end(process)
        raise
    return Engine(name=name, base_url=base_url, api_key=settings.api_key, process=process)


def _spawn() -> subprocess.Popen[str]:
    package_root = str(Path(__file__).parents[3])
    # A separate session (on Windows, a process group) keeps the notebook's interrupts from the child.
    windows_flags = 0
    if sys.platform == "win32":
        windows_flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-c", CHILD_CODE, package_root],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            env=child_environment(),
            start_new_session=True,
            creationflags=windows_flags,
        )
    except OSError as error:
        raise LocalModelUnavailable(f"the local model's process could not be started: {error}") from error


def _handshake(process: subprocess.Popen[str], settings: Settings) -> str:
    assert process.stdin
    assert process.stdout
    timer = threading.Timer(_START_TIMEOUT_S, process.kill)
    timer.daemon = True
    timer.start()
    line = ""
    try:
        with suppress(OSError):
            print(json.dumps(asdict(settings)), file=process.stdin, flush=True)
            line = process.stdout.readline()
    finally:
        timer.cancel()
        process.stdout.close()
    answer: dict[str, str] = json.loads(line) if line else {"error": _exit_reason(process)}
    if "url" not in answer:
        raise LocalModelUnavailable(
            f"the local model {settings.name} could not be loaded from {settings.model_path!r} "
            f"(is it a GGUF file, and is there memory for it?): {answer['error']}"
        )
    return f"{answer['url']}/v1"


def _exit_reason(process: subprocess.Popen[str]) -> str:
    try:
        code = process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return "its process sent no answer"
    if code < 0:
        # SIGKILL usually comes from the kernel when memory runs out.
        with suppress(ValueError):
            return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process ended with code {code}"


def _end(process: subprocess.Popen[str]) -> None:
    if process.stdin:
        with suppress(OSError):
            process.stdin.close()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main() -> None:
    """Run the child: serve until stdin is closed, with the output of native code discarded."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with open(os.dup(1), "w", encoding="utf-8") as parent:
        os.dup2(nowhere, 1)
        settings = Settings(**json.loads(sys.stdin.readline()))
        try:
            server = _serve(settings)
            answer = {"url": server.listening_address}
        except Exception as error:  # noqa: BLE001 - the parent reports it
            server, answer = None, {"error": f"{type(error).__name__}: {error}"}
        with suppress(OSError):
            print(json.dumps(answer), file=parent, flush=True)
    if server is not None:
        _wait_until_closed()
    os._exit(0)  # without waiting for a running answer, which has no reader


def _wait_until_closed() -> None:
    """Wait until stdin is closed or, on POSIX, the parent is gone, since its forked children keep the pipe open."""
    if sys.platform == "win32":
        sys.stdin.read()
        return
    parent = os.getppid()
    while os.getppid() == parent and not select.select([0], [], [], _PARENT_CHECK_INTERVAL_S)[0]:
        pass


def _serve(settings: Settings) -> Any:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # read at import; otherwise idle threads spin
    engine: Any = importlib.import_module("xllamacpp")  # no type stubs
    params = engine.CommonParams()
    params.model.path = settings.model_path
    params.model_alias = {settings.name}
    params.api_keys = [settings.api_key]
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.ui = params.endpoint_slots = False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings.threads
    # One slot: answers don't depend on concurrent requests, and each has the whole context.
    params.n_parallel, params.n_ctx = 1, settings.context_tokens
    # A canceled prompt ends between batches: after 1 s instead of 14 s with the default of 2048, at the same speed.
    params.n_batch = params.n_ubatch = 128
    params.cache_ram_mib = 64
    params.sleep_idle_seconds = _SLEEP_AFTER_S
    params.offline, params.verbosity = True, 0
    return engine.Server(params)


if __name__ == "__main__":
    main()
