"""API keys and URL credentials: sent to their own endpoint alone, and absent from errors, tracebacks, logs and children."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anthropic
import openai
import psutil
import pytest

from llm_magic import AllAttemptsFailed, LLMMagicError, Router
from llm_magic.execute import RetryPolicy
from llm_magic.home import child_environment
from llm_magic.providers import aclose
from llm_magic.providers.anthropic import AnthropicProvider
from llm_magic.providers.http import Endpoint
from llm_magic.providers.local import engine
from llm_magic.providers.openai import OpenAIProvider
from llm_magic.types import Outcome, ProviderSpec
from tests.support.builders import model, registry
from tests.support.planted import KEY, PASSWORD, contains_secret

IMPATIENT = RetryPolicy(first_token_s=0.05)
WIRES = {"openai": OpenAIProvider, "anthropic": AnthropicProvider}
SDK_VARIABLES = {
    "OPENAI_ORG_ID": "org-of-another",
    "OPENAI_PROJECT_ID": "proj-of-another",
    "OPENAI_CUSTOM_HEADERS": "X-Team: gateway\nAuthorization: Bearer another-key",
    "ANTHROPIC_CUSTOM_HEADERS": "X-Team: gateway\nx-api-key: another-key\nAuthorization: Bearer another-key",
    "ANTHROPIC_AUTH_TOKEN": "another-token",
}
ERROR_EVENT = 'event: error\ndata: {"type": "error", "error": {"type": "api_error", "message": "failed"}}\n\n'


class RawServer:
    """Answers every request with the same bytes, and keeps the requests' headers."""

    def __init__(self, reply: bytes, *, is_silent: bool = False) -> None:
        self.reply = reply
        self.is_silent = is_silent
        self.headers: list[dict[str, str]] = []
        self.port = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        await reader.readexactly(int(headers.get("content-length", "0")))
        self.headers.append(headers)
        writer.write(self.reply)
        await writer.drain()
        if self.is_silent:
            await reader.read()
        writer.close()


@asynccontextmanager
async def raw_server(status: int, body: str, content_type: str = "application/json") -> AsyncIterator[RawServer]:
    payload = body.encode()
    head = f"HTTP/1.1 {status} x\r\nContent-Type: {content_type}\r\nContent-Length: {len(payload)}\r\n"
    reply = f"{head}Connection: close\r\n\r\n".encode() + payload
    server = RawServer(reply if status else b"", is_silent=not status)
    listening = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield server
    await aclose()


def spec(wire: str, port: int, *, key_variable: str = "OWN_KEY", user: str = "") -> ProviderSpec:
    return ProviderSpec(name="own", api=wire, base_url=f"http://{user}127.0.0.1:{port}/v1", api_key_env=key_variable)


def router(
    wire: str, port: int, environ: dict[str, str] | None = None, policy: RetryPolicy | None = None, **fields: str
) -> Router:
    own = spec(wire, port, **fields)
    environ = {} if environ is None else environ
    environ[own.api_key_env or ""] = KEY
    models = registry(model("m", provider="own"))
    return Router(registry=models, providers={"own": WIRES[wire](own, environ=environ)}, policy=policy)


async def failure(routed: Router) -> BaseException:
    with pytest.raises(LLMMagicError) as caught:
        await routed.route("hello", cascade=False)
    return caught.value


FAILURES = {
    "status": (401, json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}"}}), "application/json"),
    "server error": (500, "oops", "text/plain"),
    "malformed": (200, "data: {not json\n\n", "text/event-stream"),
    "error event": (200, ERROR_EVENT, "text/event-stream"),
    "cut": (200, "", "text/event-stream"),
    "silent": (0, "", ""),
}


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("kind", [*FAILURES, "no connection"])
async def test_nothing_reachable_from_an_error_contains_the_key(
    wire: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    environ: dict[str, str] = {}
    caplog.set_level(logging.DEBUG)
    for name in ("openai", "anthropic", "httpx", "httpx2", "httpcore", "httpcore2", "llm_magic"):
        caplog.set_level(logging.DEBUG, logger=name)
    async with raw_server(*FAILURES.get(kind, (200, "", "text/plain"))) as server:
        port = 9 if kind == "no connection" else server.port
        routed = router(wire, port, environ, IMPATIENT if kind == "silent" else None, user=f"bob:{PASSWORD}@")
        error = await failure(routed)
    assert isinstance(error, AllAttemptsFailed)
    assert contains_secret(error, environ) == ""
    assert KEY not in str(pickle.dumps([str(error), *map(str, error.exceptions)]))
    assert KEY not in caplog.text
    assert PASSWORD not in caplog.text
    assert all(KEY not in str(row.error) and PASSWORD not in str(row.error) for row in routed.ledger.rows())


@pytest.mark.parametrize("wire", WIRES)
async def test_an_own_endpoint_receives_its_own_key_and_no_header_of_the_sdk_variables(
    wire: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SDK_VARIABLES.items():
        monkeypatch.setenv(name, value)
    async with raw_server(500, "{}") as server:
        await failure(router(wire, server.port))
    for headers in server.headers:
        assert "another" not in json.dumps(headers)
        assert "x-team" not in headers
        keys = {headers[name] for name in ("authorization", "x-api-key") if name in headers}
        assert keys in ({KEY}, {f"Bearer {KEY}"})


@pytest.mark.parametrize(("wire", "variable"), [("openai", "OPENAI_API_KEY"), ("anthropic", "ANTHROPIC_API_KEY")])
async def test_the_provider_that_the_sdk_variables_are_named_after_keeps_its_headers_but_not_another_key(
    wire: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SDK_VARIABLES.items():
        monkeypatch.setenv(name, value)
    async with raw_server(500, "{}") as server:
        await failure(router(wire, server.port, key_variable=variable))
    headers = server.headers[0]
    sdk_client = anthropic.AsyncAnthropic(api_key="x") if wire == "anthropic" else openai.AsyncOpenAI(api_key="x")
    assert headers.get("x-team") == sdk_client.default_headers.get("X-Team"), "old SDKs don't read custom headers"
    await sdk_client.close()
    assert "another-key" not in json.dumps(headers)
    assert "another-token" not in json.dumps(headers)
    assert wire == "anthropic" or headers["openai-organization"] == "org-of-another"


@pytest.mark.parametrize("wire", WIRES)
async def test_credentials_in_a_url_are_sent_as_a_header(wire: str) -> None:
    async with raw_server(500, "{}") as server:
        await failure(router(wire, server.port, user="bob:p%40ss@"))
    assert {headers["authorization"] for headers in server.headers} == {"Basic Ym9iOnBAc3M="}


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("echo", ["bob", "p@ss:word", "p%40ss:word", "bob:p@ss:word", "Ym9iOnBAc3M6d29yZA=="])
async def test_credentials_of_a_url_that_an_endpoint_repeats_in_any_form_are_removed(wire: str, echo: str) -> None:
    async with raw_server(401, json.dumps({"error": {"message": f"refused: <{echo}>"}})) as server:
        error = await failure(router(wire, server.port, user="bob:p%40ss:word@"))
    assert "refused: <" in str(error)
    assert not any(part in str(error) for part in ("word", "Ym9iOnBA"))


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    ("variable", "value"),
    [("ALL_PROXY", "socks5://127.0.0.1:9"), ("HTTP_PROXY", "http://127.0.0.1:9"), ("HTTPS_PROXY", "ftp://x:1")],
)
async def test_a_loopback_endpoint_is_not_reached_by_way_of_a_proxy(
    wire: str, variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    async with raw_server(401, "{}") as server:
        await failure(router(wire, server.port))
    assert len(server.headers) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of the SDK's half-made client
@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ALL_PROXY", "socks9://127.0.0.1:9"), ("https_proxy", "ftp://127.0.0.1:9"), ("SSL_CERT_FILE", "/nowhere.pem"),
        ("SSL_CERT_FILE", "/"), ("SSLKEYLOGFILE", "/nowhere/keys"),
    ],
)  # fmt: skip
async def test_a_wrong_proxy_or_certificate_setting_is_reported_and_not_billed(
    wire: str, variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    own = ProviderSpec(name="own", api=wire, base_url="https://remote.example/v1", api_key_env="OWN_KEY")
    provider = WIRES[wire](own, environ={"OWN_KEY": KEY})
    routed = Router(registry=registry(model("m", provider="own")), providers={"own": provider})
    error = await failure(routed)
    assert "nothing could be sent to https://remote.example/v1" in str(error)
    assert variable in str(error).partition(". Check ")[2]
    assert {(row.outcome, row.cost_usd) for row in routed.ledger.rows()} == {(Outcome.CONNECTION_FAILED, 0)}
    await aclose()


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    ("proxy", "reason"), [("http://me:password@127.0.0.1:9", "connection"), ("http://127.0.0.1:99999", "")]
)
async def test_a_proxy_that_does_not_answer_is_named_without_its_password(
    wire: str, proxy: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    own = ProviderSpec(name="own", api=wire, base_url="https://other.example/v1", api_key_env="OWN_KEY")
    provider = WIRES[wire](own, environ={"OWN_KEY": KEY})
    error = await failure(Router(registry=registry(model("m", provider="own")), providers={"own": provider}))
    assert reason in str(error)
    assert "HTTPS_PROXY" in str(error).partition(". Check ")[2]
    assert "TaskGroup" not in str(error)
    assert "password" not in str(error)
    await aclose()


def test_a_child_process_gets_no_secret_whatever_its_variable_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "MY_LLM", "ANTHROPIC_CUSTOM_HEADERS", "LLM_MAGIC_LEDGER", "GITHUB_TOKEN"):
        monkeypatch.setenv(name, KEY)
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example/simple")
    passed_on = child_environment()
    assert KEY not in passed_on.values()
    assert {"PATH", "PIP_INDEX_URL"} <= passed_on.keys()


def test_the_engine_process_has_no_secret_in_its_environment(smollm2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_LLM", KEY)
    running = engine.start(smollm2, "small")
    try:
        assert KEY not in psutil.Process(running.process.pid).environ().values()
    finally:
        running.stop()


def test_parameters_of_an_address_are_redacted_except_its_version() -> None:
    query = (("key", "a-secret-key"), ("api-version", "2024-10-21"))
    endpoint = Endpoint(base_url="https://x/v1", api_key="none", query=query)
    assert endpoint.redact("no ?key=a-secret-key&api-version=2024-10-21") == "no ?key=[key]&api-version=2024-10-21"
