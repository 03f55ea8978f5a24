"""Isolation of every test: only loopback connections, no keys, no files of the user."""

from __future__ import annotations

import gc
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from llm_magic import routing
from llm_magic.providers.local import download, weights
from llm_magic.testing import Reply, ScriptedProvider
from tests.support import postgres
from tests.support.builders import router
from tests.support.fuzzing import examples

if TYPE_CHECKING:
    from tests.support.shell import Shell

# No deadline: the time of an example depends on the machine. `make test` is the same every time; `make fuzz` is not.
hypothesis.settings.register_profile("fixed", deadline=None, derandomize=True, database=None, max_examples=50)
hypothesis.settings.register_profile(
    "fuzz", deadline=None, derandomize=False, database=None, print_blob=True, max_examples=examples(100)
)
hypothesis.settings.load_profile("fixed")

_SHARED = "LLM_MAGIC_TEST_RUN"
"""Names a folder that the processes of one test run share."""

_KEYS = [f"{name}_{part}" for name in ("ANTHROPIC", "OPENAI", "DEEPSEEK") for part in ("API_KEY", "BASE_URL")]
_OWN = ["LLM_MAGIC_PROFILE", "LLM_MAGIC_SESSION", "LLM_MAGIC_LOCAL_MODEL"]
_MARKERS = {
    "postgres_server": "database",
    "running_kernel": "kernel",
    "kernel_of_its_own": "kernel",
    "headless": "kernel",
    "smollm2": "local_model",
}
"""By the fixtures that tests use."""
_connect = socket.socket.connect
_getaddrinfo = socket.getaddrinfo


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # not in the workers of pytest-xdist, which inherit the variable
        os.environ[_SHARED] = tempfile.mkdtemp(prefix="llm_magic-tests-")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores, because tests wait for servers and processes."""
    return (os.cpu_count() or 1) + 1


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shared = Path(os.environ.pop(_SHARED))
        if postgres.unusable() is None:
            postgres.stop(shared)
        shutil.rmtree(shared, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for fixture, marker in _MARKERS.items():
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(marker)
        callspec = getattr(item, "callspec", None)
        if callspec is not None and callspec.params.get("location") == "postgresql":
            item.add_marker("database")


def pytest_collection_finish() -> None:
    """Exempt what is loaded by now from garbage collection, which every reset of an IPython shell runs in full."""
    gc.collect()
    gc.freeze()


def _is_loopback(host: object) -> bool:
    return str(host) in ("localhost", "::1", "") or str(host).startswith("127.")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail on a connection to another machine, and on the look-up of its name."""

    def connect(self: socket.socket, address: object) -> None:
        if isinstance(address, tuple) and not _is_loopback(address[0]):
            raise AssertionError(f"a test wanted to connect to {address!r}")
        return _connect(self, address)  # type: ignore[arg-type]

    def getaddrinfo(host: object, *rest: object, **more: object) -> object:
        if host is not None and not _is_loopback(host.decode() if isinstance(host, bytes) else host):
            raise AssertionError(f"a test wanted to look up {host!r}")
        return _getaddrinfo(host, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket.socket, "connect_ex", connect)
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Set a fresh home, a ledger in memory, no local model and no session. Returns the home."""
    for name in (*_KEYS, *_OWN):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    monkeypatch.setenv("LLM_MAGIC_HOME", str(home))
    monkeypatch.setenv("LLM_MAGIC_LEDGER", ":memory:")
    monkeypatch.setenv("LLM_MAGIC_LOCAL", "0")
    routing.reset_session()
    return home


@pytest.fixture
def scripted() -> ScriptedProvider:
    """The provider of the shell's router."""
    return ScriptedProvider([Reply()])


@pytest.fixture
def shell(scripted: ScriptedProvider) -> Iterator[Shell]:
    """An IPython shell with the extension loaded, on scripted models."""
    from tests.support.shell import loaded

    with loaded(router(providers={"cloud": scripted}), scripted) as shell:
        yield shell


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The small model's weights, downloaded once and kept under build/."""
    build = Path(__file__).parent.parent / "build" / "models"
    return download.fetch(weights.SMOLLM2, build, progress=lambda message, fraction: None)


@pytest.fixture(scope="session")
def postgres_server() -> str:
    """The address of a PostgreSQL server, if one can be started."""
    if why := postgres.unusable():
        pytest.skip(why)
    return postgres.start(Path(os.environ[_SHARED]))


@pytest.fixture(params=["memory", "file", "postgresql"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The location of an empty ledger, in each kind of database."""
    if request.param == "postgresql":
        return postgres.new_database(request.getfixturevalue("postgres_server"))
    return ":memory:" if request.param == "memory" else str(tmp_path / "ledger.db")
