"""Responses that HTTP servers, proxies, and networks send in place of a provider's."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import openai
import pytest
import trustme

from llm_magic import ConnectionFailed, Registry, ServerError
from llm_magic.errors import ProtocolError, ProviderError, RateLimited, StreamBroken
from llm_magic.events import TextDelta
from llm_magic.providers import aclose, reading, sending
from llm_magic.providers.anthropic import AnthropicProvider
from llm_magic.providers.base import ProviderRequest
from llm_magic.providers.compression import inflated
from llm_magic.providers.openai import OpenAIProvider
from llm_magic.types import Message
from tests.support import loopback

PROVIDERS = {"openai": OpenAIProvider, "anthropic": AnthropicProvider}
MODELS = {"openai": "gpt-5.5", "anthropic": "claude-sonnet-4-6"}
ARTICLE = Registry.load("article")
PROMPT = "Capital of France?"
ANSWERS = {
    "openai": b'data: {"choices": [{"delta": {"content": "Paris."}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n',
    "anthropic": b'data: {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Paris."}}\n\n'
    b'data: {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}\n\ndata: {"type": "message_stop"}\n\n',
}

WHOLE = {
    "openai": b'{"choices": [{"message": {"content": "Paris."}, "finish_reason": "stop"}]}',
    "anthropic": b'{"type": "message", "content": [{"type": "text", "text": "Paris."}], "stop_reason": "end_turn"}',
}


def response(status: int, body: bytes = b"", *headers: str, length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body) if length is None else length}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass(kw_only=True)
class Server:
    """Sends `responses` in turn, one for each request. An empty one closes the connection."""

    responses: list[bytes]
    stays_open: bool = True
    url: str = ""
    requests: list[bytes] = field(default_factory=list[bytes])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.lower().split(b"\r\n")
                size = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")), 0)
                self.requests.append(head + await reader.readexactly(size))
                answer = self.responses.pop(0)
                writer.write(answer)
                if not (answer and self.stays_open):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(
    *responses: bytes, stays_open: bool = True, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    server = Server(responses=list(responses), stays_open=stays_open)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    server.url = f"http{'' if tls is None else 's'}://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        await aclose()
        listening.close()


def connected(wire: str, url: str) -> AnthropicProvider | OpenAIProvider:
    environ = {f"{wire.upper()}_BASE_URL": url, f"{wire.upper()}_API_KEY": loopback.KEY}
    return PROVIDERS[wire](ARTICLE.providers[wire], environ=environ)


async def ask(wire: str, url: str) -> str:
    message = Message(role="user", content=PROMPT)
    request = ProviderRequest(model=ARTICLE[MODELS[wire]], messages=(message,), max_output_tokens=10)
    async with aclosing(connected(wire, url).stream(request)) as events:
        return "".join([event.text async for event in events if isinstance(event, TextDelta)])


async def failure(wire: str, url: str) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await ask(wire, url)
    error = caught.value
    assert loopback.KEY not in str(error)
    assert (error.billed, error.accepted) == (False, False), "the request is not charged"
    return error


@pytest.mark.parametrize(
    "answer",
    [
        response(429, b'{"error": {"message": "slow down"}}', length=1_000),
        response(429, b'{"error": {"message": "slow down"}}', "content-encoding: gzip"),
        response(429, b'{"error": {"message": "slow down"}}', "content-encoding: deflate"),
        b'HTTP/1.1 429 X\r\ntransfer-encoding: chunked\r\n\r\n23\r\n{"error": {"message": "slow down"}}\r\n',
        b'HTTP/1.1 429 X\r\ntransfer-encoding: chunked\r\n\r\n23\r\n{"error": {"message": "slow down"}}\r\nzz\r\n',
    ],
)
@pytest.mark.parametrize("stays_open", [True, False])
@pytest.mark.parametrize("wire", MODELS)
async def test_the_status_of_an_error_counts_although_its_body_breaks(
    wire: str, answer: bytes, stays_open: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "ERROR_WAIT_S", 0.05)
    async with serving(answer, stays_open=stays_open) as server:
        error = await failure(wire, server.url)
    assert isinstance(error, RateLimited)
    assert "slow down" in str(error)


@pytest.mark.parametrize("wire", MODELS)
async def test_an_error_body_without_an_end_is_bounded(wire: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "MAX_ERROR_BYTES", 1_000)
    async with serving(response(500, b"x" * 2_000, length=10**9)) as server:
        assert isinstance(await failure(wire, server.url), ServerError)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["http://127.0.0.2:1/v1?token=secret", "https://127.0.0.1/v1", "http://[::bad/"])
@pytest.mark.parametrize("wire", MODELS)
async def test_a_redirect_to_another_address_is_reported(wire: str, status: int, location: str) -> None:
    async with serving(response(status, b"moved", f"location: {location}")) as server:
        error = await failure(wire, server.url)
    assert isinstance(error, ConnectionFailed)
    assert not error.retryable
    assert f"HTTP {status}: the endpoint redirects to " in str(error)
    assert "secret" not in str(error)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 303])
@pytest.mark.parametrize("wire", MODELS)
async def test_a_redirect_that_drops_the_prompt_is_not_followed(wire: str, status: int) -> None:
    async with serving(response(status, b"", "location: /login")) as server:
        error = await failure(wire, server.url)
    assert f"redirects to {server.url}/login. Set base_url" in str(error)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize("wire", MODELS)
async def test_a_redirect_within_the_server_takes_the_prompt_along(wire: str, status: int) -> None:
    async with serving(response(status, b"", "location: /moved/"), response(200, ANSWERS[wire])) as server:
        assert await ask(wire, server.url) == "Paris."
    assert server.requests[1].startswith(b"POST /moved/ ")
    assert PROMPT.encode() in server.requests[1]


@pytest.mark.parametrize("wire", MODELS)
async def test_a_list_of_models_is_read_after_a_redirect_within_the_server(wire: str) -> None:
    listed = response(200, b'{"data": [{"id": "m"}]}', "content-type: application/json")
    async with serving(response(301, b"", "location: /all"), listed) as server:
        assert [model.id for model in await connected(wire, server.url).list_models()] == ["m"]
    async with serving(response(301, b"", "location: http://127.0.0.2:1/all")) as server:
        with pytest.raises(ProviderError, match="can't be asked: HTTP 301: the endpoint redirects to"):
            await connected(wire, server.url).list_models()


@pytest.mark.parametrize("wire", MODELS)
async def test_a_list_of_models_that_repeats_its_first_page_is_asked_twice(wire: str) -> None:
    page = response(200, b'{"data": [{"id": "m"}], "has_more": true}', "content-type: application/json")
    async with serving(page, page, page) as server:
        assert [model.id for model in await connected(wire, server.url).list_models()] == ["m"]
    assert len(server.requests) == 2


CONNECT: dict[str, tuple[bytes, bool]] = {
    "wants a login": (response(407), False),
    "forbids the host": (response(403), False),
    "is broken": (response(503), True),
    "closes the connection": (b"", True),
    "speaks another protocol": (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", True),
    "breaks the tunnel": (b"HTTP/1.1 200 OK\r\n\r\nno TLS", True),
}


@pytest.mark.parametrize("way", CONNECT)
@pytest.mark.parametrize("wire", MODELS)
async def test_a_request_that_a_proxy_did_not_pass_on_is_not_billed(
    wire: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, retryable = CONNECT[way]
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    async with serving(answer, stays_open=False) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("://", "://user:secret@"))
        error = await failure(wire, "https://llm.example.com/v1")
    assert isinstance(error, ConnectionFailed)
    assert error.retryable is retryable
    assert str(error).endswith(". Check HTTPS_PROXY")
    assert "secret" not in str(error)
    assert [request.split()[0] for request in proxy.requests] == [b"CONNECT"]


@pytest.mark.parametrize("wire", MODELS)
async def test_a_corrected_proxy_is_used_without_a_restart(wire: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(response(407), response(407), response(407), stays_open=False) as wrong:
        async with serving(response(200, ANSWERS[wire])) as right:
            monkeypatch.setenv("HTTP_PROXY", wrong.url)
            for _ in range(2):
                await failure(wire, "http://llm.example.com/v1")
            monkeypatch.setenv("HTTP_PROXY", right.url)
            assert await ask(wire, "http://llm.example.com/v1") == "Paris."
        assert (len(wrong.requests), len(right.requests)) == (2, 1)


@pytest.mark.parametrize("status", [407, 511])
@pytest.mark.parametrize("wire", MODELS)
async def test_a_network_that_asks_for_a_login_is_not_asked_again(
    wire: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(response(status, b"<html><title>Log in</title></html>", "content-type: text/html")) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        error = await failure(wire, "http://llm.example.com/v1")
    assert isinstance(error, ConnectionFailed)
    assert not error.retryable
    assert str(error) == f"HTTP {status}: Log in. Check HTTP_PROXY"


PAGES: dict[bytes, str] = {
    b"<!doctype html><html><head><title>Hotel WiFi</title></head></html>": "'Hotel WiFi'",
    b"\n <html><body>Please <b>log in</b></body></html>": "'Please log in'",
    b"Ollama is running": "'Ollama is running'",
    b"404 page not found\n": "'404 page not found'",
}


@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "text/plain", "application/json", ""])
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("wire", MODELS)
async def test_a_page_in_place_of_an_answer_is_shown_and_not_billed(wire: str, page: bytes, content_type: str) -> None:
    headers = [f"content-type: {content_type}"] if content_type else []
    async with serving(response(200, page, *headers)) as server:
        error = await failure(wire, server.url)
    assert isinstance(error, ProtocolError)
    assert not error.retryable
    assert f": {PAGES[page]}. Check base_url" in str(error)


@pytest.mark.parametrize("status", [204, 205])
@pytest.mark.parametrize("wire", MODELS)
async def test_a_status_without_a_body_is_not_billed(wire: str, status: int) -> None:
    async with serving(f"HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n".encode()) as server:
        error = await failure(wire, server.url)
    assert str(error) == f"HTTP {status}: no answer"


@pytest.mark.parametrize(
    "frame",
    [
        lambda body: response(200, body, length=len(body) + 50),
        lambda body: b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(body), body),
        lambda body: b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%s\r\nzz\r\n" % (len(body), body),
    ],
)
@pytest.mark.parametrize("stays_open", [True, False])
@pytest.mark.parametrize("wire", MODELS)
async def test_an_answer_that_is_whole_counts_although_its_http_body_is_not(
    wire: str, stays_open: bool, frame: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "END_WAIT_S", 0.05)
    monkeypatch.setattr(reading, "DRAIN_S", 0.05)
    for body in (ANSWERS[wire], WHOLE[wire]):
        async with serving(frame(body), stays_open=stays_open) as server:
            assert await ask(wire, server.url) == "Paris."


def raw_deflate(data: bytes) -> bytes:
    deflate = zlib.compressobj(wbits=-15)
    return deflate.compress(data) + deflate.flush()


COMPRESSED: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "old name": ("x-gzip", gzip.compress),
    "not gzip": ("gzip", bytes),
    "not deflate": ("deflate", bytes),
    "deflate in place of gzip": ("gzip", zlib.compress),
    "gzip in place of deflate": ("deflate", gzip.compress),
    "deflate without a header": ("deflate", raw_deflate),
    "two members": ("gzip", lambda body: gzip.compress(body[:40]) + gzip.compress(body[40:])),
    "padded": ("gzip", lambda body: gzip.compress(body) + bytes(8)),
    "unknown": ("x-own", bytes),
}


@pytest.mark.parametrize("way", COMPRESSED)
@pytest.mark.parametrize("wire", MODELS)
async def test_a_body_that_is_compressed_in_another_way_than_its_header_says_is_read(wire: str, way: str) -> None:
    encoding, compress = COMPRESSED[way]
    for body in (ANSWERS[wire], WHOLE[wire]):
        async with serving(response(200, compress(body), f"content-encoding: {encoding}")) as server:
            assert await ask(wire, server.url) == "Paris."


@pytest.mark.parametrize("start", [b": ping\n\n", b":ok\n\n", b"event: ", b"{\n"])
@pytest.mark.parametrize("encoding", ["gzip", "x-gzip"])
async def test_a_plain_body_that_is_called_gzip_is_read_although_its_first_part_is_short(
    encoding: str, start: bytes
) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield start
        yield b"the rest of a long answer" * 100

    assert b"".join([part async for part in inflated(parts(), encoding)]) == start + b"the rest of a long answer" * 100


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_compressed_error_body_is_inflated_up_to_a_bound(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "MAX_ERROR_BYTES", 100_000)
    library = sending.http_library(openai)
    compress = {"gzip": gzip.compress, "deflate": zlib.compress}[encoding]
    stream = library.ByteStream(compress(b"x" * 10_000_000))
    answer = library.Response(500, headers={"content-encoding": encoding}, stream=stream)
    await sending.response_hook(library)(answer)
    assert await answer.aread() == b"x" * 100_000


@pytest.mark.parametrize(
    ("host", "trusts", "says"),
    [("127.0.0.1", False, "unable to get local issuer"), ("llm.example.com", True, "IP address mismatch")],
)
@pytest.mark.parametrize("wire", MODELS)
async def test_a_certificate_that_is_not_trusted_is_not_tried_again(
    wire: str, host: str, trusts: bool, says: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(tls)
    (authority if trusts else trustme.CA()).cert_pem.write_to_path(tmp_path / "trusted.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "trusted.pem"))
    async with serving(tls=tls) as server:
        error = await failure(wire, server.url)
    assert isinstance(error, ConnectionFailed)
    assert not error.retryable
    assert says in str(error)
    assert trusts is not str(error).endswith("is trusted if the file that SSL_CERT_FILE names contains it")


@pytest.mark.parametrize("wire", MODELS)
async def test_a_server_with_tls_that_is_asked_without_is_a_broken_connection_with_advice(wire: str) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
    async with serving(tls=tls) as server:
        with pytest.raises(StreamBroken, match="If the endpoint uses TLS, its base_url must begin with https://"):
            await ask(wire, server.url.replace("https://", "http://"))


@pytest.mark.parametrize(("status", "says"), [(504, "Gateway Timeout"), (521, "Cloudflare"), (599, "no message")])
@pytest.mark.parametrize("wire", MODELS)
async def test_a_status_of_a_gateway_without_a_message_is_explained(wire: str, status: int, says: str) -> None:
    async with serving(response(status, b"<html></html>", "content-type: text/html")) as server:
        error = await failure(wire, server.url)
    assert isinstance(error, ServerError)
    assert str(error).startswith(f"HTTP {status}: ")
    assert says in str(error)
