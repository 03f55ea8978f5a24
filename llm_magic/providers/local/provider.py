"""The embedded model as a provider: the first request downloads the weights and starts the engine."""

from __future__ import annotations

import asyncio
import atexit
import importlib.util
import os
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from llm_magic.errors import LocalModelUnavailable
from llm_magic.events import Progress
from llm_magic.providers.base import ProviderEvent, ProviderRequest
from llm_magic.providers.local import download, engine, grammar, weights
from llm_magic.providers.local.download import ReportProgress
from llm_magic.providers.local.weights import Weights
from llm_magic.providers.openai import Endpoint, OpenAIProvider
from llm_magic.types import ProviderSpec, Schema

_POLL_INTERVAL_S = 0.05
# The engine's server sometimes closes a kept-alive connection just as the next request is sent.
_NO_KEEP_ALIVE = {"extra_headers": {"Connection": "close"}}


class Engine(Protocol):
    @property
    def base_url(self) -> str: ...
    @property
    def api_key(self) -> str: ...
    def alive(self) -> bool: ...
    def stop(self) -> None: ...


class Fetch(Protocol):
    def __call__(self, weights: Weights, folder: Path, *, progress: ReportProgress, stop: threading.Event) -> Path: ...


class LocalProvider:
    """A small real model in one child process, which is started at the first request and again if it died.

    May be used from several event loops and threads. `stop`, and the end of this process, end the child.
    """

    def __init__(
        self,
        *,
        environ: Mapping[str, str] = os.environ,
        folder: Path | None = None,
        choose: Callable[[], Weights | Path] | None = None,
        fetch: Fetch = download.fetch,
        start_engine: Callable[[Path, str], Engine] = engine.start,
    ) -> None:
        self._environ = environ
        self._folder = folder
        self._choose = choose or (lambda: weights.configured(environ=environ))
        self._fetch = fetch
        self._start_engine = start_engine
        self._lock = threading.Lock()
        self.announces_sending = True
        self._engine: Engine | None = None
        self._job: _Startup | None = None
        self._api = OpenAIProvider(ProviderSpec(name="local", api="local"), environ=environ, endpoint=self._endpoint)

    def load(self) -> None:
        self._api.load()

    def unavailable(self) -> str | None:
        if self._environ.get("LLM_MAGIC_LOCAL", "").strip().lower() in ("0", "false", "no", "off"):
            return "turned off by LLM_MAGIC_LOCAL=0"
        if importlib.util.find_spec("xllamacpp") is None:
            return "not installed: pip install llm-magic[local]"
        return None

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        """Yield Progress events until the engine runs, then the answer. Also raises LocalModelUnavailable."""
        if reason := self.unavailable():
            raise LocalModelUnavailable(f"the local model is {reason}")
        if job := self._startup():
            async with aclosing(job.watch()) as steps:
                async for step in steps:
                    yield step
            yield Progress(message="the local model is loaded, waiting for its first token", done=True)
        params = {**request.model.params, **_NO_KEEP_ALIVE}
        request = replace(request, model=replace(request.model, params=params))
        if request.schema is not None:
            request = _constrained(request, request.schema)
        await self._api.prepare()
        async with aclosing(self._api.stream(request)) as events:
            async for event in events:
                yield event

    def stop(self) -> None:
        """End the child and any startup. The next request starts a new one. May block for a moment."""
        with self._lock:
            job, self._job = self._job, None
            running, self._engine = self._engine, None
        if job:
            job.stop()
        if running:
            running.stop()

    def _endpoint(self) -> Endpoint:
        running = self._engine
        if running is None:
            raise LocalModelUnavailable("the local model was stopped")
        return Endpoint(base_url=running.base_url, api_key=running.api_key)

    def _startup(self) -> _Startup | None:
        """Return the startup in progress, begun if necessary, or None if the engine runs."""
        with self._lock:
            if self._engine is not None and self._engine.alive():
                return None
            if self._job is None or not self._job.join():
                self._job = _Startup(self._start)
            return self._job

    def _start(self, report: ReportProgress, stopped: threading.Event) -> None:
        choice = self._choose()
        if isinstance(choice, Path):
            path, name = choice, choice.stem
        else:
            folder = self._folder or weights.default_folder()
            path, name = self._fetch(choice, folder, progress=report, stop=stopped), choice.name
        report(f"loading the local model {name}", None)
        started = self._start_engine(path, name)
        with self._lock:
            if not stopped.is_set():
                self._engine = started
                return
        started.stop()
        raise LocalModelUnavailable("the local model was stopped")


def _constrained(request: ProviderRequest, schema: Schema) -> ProviderRequest:
    relaxed = grammar.for_grammar(schema)
    if relaxed is None:
        return replace(request, model=replace(request.model, json_mode="none"))
    return replace(request, schema=relaxed)


@lru_cache(maxsize=1)
def _shared() -> LocalProvider:
    return LocalProvider()


def shared_provider(spec: ProviderSpec) -> LocalProvider:  # noqa: ARG001 - the signature of a ProviderFactory
    """The process's one provider: the engine takes hundreds of megabytes."""
    return _shared()


class _Startup:
    """Blocking work in a thread, watched by any number of requests and abandoned when the last one leaves.

    A daemon thread, because Python waits at exit for the threads of the loop's executor.
    """

    def __init__(self, work: Callable[[ReportProgress, threading.Event], None]) -> None:
        self._work = work
        self._latest: Progress | None = None
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        self._watchers = 1
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="llm_magic local model", daemon=True)
        atexit.register(self.stop)
        self._thread.start()

    def join(self) -> bool:
        """Add a watcher. Returns False if the work has ended or was abandoned."""
        with self._lock:
            if self._stopped.is_set() or not self._thread.is_alive():
                return False
            self._watchers += 1
            return True

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(3)

    async def watch(self) -> AsyncGenerator[Progress]:
        """Yield the progress until the end of the work, and raise its error. Call it once per `join`."""
        shown: Progress | None = None
        try:
            while True:
                done = not self._thread.is_alive()  # also after a fork
                if (latest := self._latest) is not shown and latest is not None:
                    shown = latest
                    yield latest
                if done:
                    break
                await asyncio.sleep(_POLL_INTERVAL_S)
        finally:
            with self._lock:
                self._watchers -= 1
                if not self._watchers:
                    self._stopped.set()
        if self._error is not None:
            raise self._error

    def _report(self, message: str, fraction: float | None) -> None:
        self._latest = Progress(message=message, fraction=fraction)

    def _run(self) -> None:
        try:
            self._work(self._report, self._stopped)
        except BaseException as error:  # noqa: BLE001 - raised again in `watch`
            self._error = error
        finally:
            atexit.unregister(self.stop)
