"""No network but loopback, no key, no file of the user's: every test starts from nothing."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from llm_magic import routing
from llm_magic.providers.local import weights
from llm_magic.testing import Reply, ScriptedProvider
from tests.support import postgres
from tests.support.builders import router

if TYPE_CHECKING:
    from tests.support.shell import Shell

hypothesis.settings.register_profile("ours", deadline=None)  # how long an example takes is the machine's affair
hypothesis.settings.load_profile("ours")

_KEYS = [f"{name}_{part}" for name in ("ANTHROPIC", "OPENAI", "DEEPSEEK") for part in ("API_KEY", "BASE_URL")]
_OWN = ["LLM_MAGIC_PROFILE", "LLM_MAGIC_SESSION", "LLM_MAGIC_LOCAL_MODEL"]
_connect = socket.socket.connect
_getaddrinfo = socket.getaddrinfo


def _is_loopback(host: object) -> bool:
    return str(host) in ("localhost", "::1", "") or str(host).startswith("127.")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection off this machine, or even the look-up of a name, is an error."""

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
    """A fresh home, a ledger in memory, the local model off, no session. Returns the home."""
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
    """The small model's weights, fetched once and kept under build/."""
    build = Path(__file__).parent.parent / "build" / "models"
    return weights.fetch(weights.SMOLLM2, build, progress=lambda message, fraction: None)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A PostgreSQL server, where one can be started."""
    if why := postgres.unusable():
        pytest.skip(why)
    with postgres.running() as address:
        yield address


@pytest.fixture(params=["memory", "file", "postgresql"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty ledger can be, in each kind of database."""
    if request.param == "postgresql":
        return postgres.new_database(request.getfixturevalue("postgres_server"))
    return ":memory:" if request.param == "memory" else str(tmp_path / "ledger.db")
