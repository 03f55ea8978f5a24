"""Compressed responses, through the SDKs and a server on loopback."""

from __future__ import annotations

import gzip
import json
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import aclosing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from llm_magic import ModelSpec, ProviderError
from llm_magic.events import TextDelta
from llm_magic.providers import http
from llm_magic.providers.anthropic import AnthropicProvider
from llm_magic.providers.base import ProviderRequest
from llm_magic.providers.openai import OpenAIProvider
from llm_magic.types import Message, ProviderSpec
from tests.providers.test_bodies import EVENTS, TEXT, sse

ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
}


class Handler(BaseHTTPRequestHandler):
    """Answers a request for the model `ENCODING STATUS`."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        wire = "anthropic" if self.path.endswith("/messages") else "openai"
        model = json.loads(self.rfile.read(int(self.headers["content-length"])))["model"]
        encoding, status = model.split()
        plain = sse(EVENTS[wire]()) if status == "200" else b'{"error": {"message": "no luck"}}'
        body = ENCODINGS[encoding](plain)
        self.send_response_only(int(status))
        self.send_header("Content-Type", "text/event-stream" if status == "200" else "application/json")
        self.send_header("Content-Encoding", encoding)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for start in range(0, len(body), 7):
            self.wfile.write(body[start : start + 7])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


async def text_of(address: str, wire: str, model: str) -> str:
    spec = ProviderSpec(name="x", api=wire, base_url=address)
    provider = AnthropicProvider(spec, environ={}) if wire == "anthropic" else OpenAIProvider(spec, environ={})
    request = ProviderRequest(
        model=ModelSpec(id="m", provider="x", api_model=model, context_window=10_000, max_output_tokens=100),
        messages=(Message(role="user", content="hello"),),
        max_output_tokens=100,
    )
    texts: list[str] = []
    try:
        async with aclosing(provider.stream(request)) as events:
            async for event in events:
                texts += [event.text] if isinstance(event, TextDelta) else []
    finally:
        await http.aclose()
    return "".join(texts)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("wire", EVENTS)
async def test_a_compressed_answer_is_read(address: str, wire: str, encoding: str) -> None:
    assert await text_of(address, wire, f"{encoding} 200") == TEXT


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("wire", EVENTS)
async def test_a_compressed_error_is_read(address: str, wire: str, encoding: str) -> None:
    with pytest.raises(ProviderError, match="no luck"):
        await text_of(address, wire, f"{encoding} 500")
