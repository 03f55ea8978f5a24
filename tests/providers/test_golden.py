"""Answers as the three providers send them, streamed and not, through the real SDKs: their text, usage and price.

The payloads have the shape that the providers document and the SDKs' own types describe. The expected
costs are computed by the catalog's own reader and calculator, which share no code with llm_magic.
"""

from __future__ import annotations

import json
import re
import socketserver
import threading
from collections.abc import Iterator
from contextlib import aclosing
from decimal import Decimal
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from genai_prices import calc_price, extract_usage

from llm_magic import Registry, Usage, prices
from llm_magic.events import TextDelta
from llm_magic.providers import http
from llm_magic.providers.anthropic import AnthropicProvider
from llm_magic.providers.base import Finished, ProviderRequest, UsageReport
from llm_magic.providers.openai import OpenAIProvider
from llm_magic.types import Message
from tests.support.builders import NOON

GOLDEN = Path(__file__).parent / "golden"
MODELS = {"anthropic": "claude-sonnet-5-5", "openai": "gpt-6.1-terra", "deepseek": "deepseek-v4-pro"}


class Handler(BaseHTTPRequestHandler):
    """Answers any request with the server's payload."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        path: Path = self.server.payload  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("content-type", "application/json" if path.suffix == ".json" else "text/event-stream")
        self.end_headers()
        self.wfile.write(path.read_bytes())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Any]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as serving:
        thread = threading.Thread(target=serving.serve_forever, args=(0.01,))
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


async def answered(server: Any, name: str) -> tuple[str, Usage, Finished]:
    """Return the text, usage and end of a payload."""
    server.payload = GOLDEN / name
    provider_id = Path(name).name.partition("-")[0]
    model = Registry.load("current")[MODELS[provider_id]]
    upper = provider_id.upper()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    environ = {f"{upper}_API_KEY": "sk-none", f"{upper}_BASE_URL": address}
    spec = Registry.load("current").providers[provider_id]
    provider = (AnthropicProvider if spec.api == "anthropic" else OpenAIProvider)(spec, environ=environ)
    request = ProviderRequest(
        model=model, messages=(Message(role="user", content="What is the capital of France?"),), max_output_tokens=900
    )
    async with aclosing(provider.stream(request)) as stream:
        events = [event async for event in stream]
    await http.aclose()
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    report = [event for event in events if isinstance(event, UsageReport)][-1]
    assert report.final
    (finished,) = (event for event in events if isinstance(event, Finished))
    return text, report.usage, finished


EXPECTED = {
    "anthropic-stream.sse": Usage(
        input_tokens=3_605,
        cached_input_tokens=1_536,
        cache_write_tokens=2_048,
        cache_write_1h_tokens=1_024,
        output_tokens=187,
        reasoning_tokens=180,
    ),
    "anthropic-whole.json": Usage(input_tokens=2_095, output_tokens=503),
    "openai-stream.sse": Usage(
        input_tokens=3_019, cached_input_tokens=1_920, output_tokens=1_104, reasoning_tokens=896
    ),
    "openai-whole.json": Usage(input_tokens=3_019, output_tokens=1_104, reasoning_tokens=896),
    "deepseek-stream.sse": Usage(
        input_tokens=1_200, cached_input_tokens=1_024, output_tokens=300, reasoning_tokens=250
    ),
    "deepseek-whole.json": Usage(
        input_tokens=1_200, cached_input_tokens=1_024, output_tokens=300, reasoning_tokens=250
    ),
}
TIERS = {"anthropic-whole.json": "batch", "openai-stream.sse": "flex"}


@pytest.mark.parametrize("name", sorted(EXPECTED))
async def test_text_usage_and_service_tier_are_read(server: Any, name: str) -> None:
    text, usage, finished = await answered(server, name)
    assert text == "Paris\u2028.", "a separator of lines within a text is text"
    assert usage == EXPECTED[name]
    assert (finished.finish_reason, finished.service_tier) == ("stop", TIERS.get(name))


@pytest.mark.parametrize("name", sorted(EXPECTED))
async def test_the_cost_equals_the_catalogs_own_calculation(server: Any, name: str) -> None:
    _, usage, finished = await answered(server, name)
    registry = Registry.load("current")
    provider_id = name.partition("-")[0]
    asked = registry[MODELS[provider_id]]
    served = prices.served_spec(asked, finished.served_model, registry)
    assert served == asked, "a dated name is the same model"
    cost = prices.cost(served, usage, NOON, finished.service_tier)
    read = extract_usage(
        _as_one_body(GOLDEN / name),
        provider_id=provider_id,
        api_flavor="default" if provider_id == "anthropic" else "chat",
    )
    tier = TIERS.get(name)
    context: Any = {"processing": "batch"} if tier == "batch" else {"service_tier": tier or "default"}
    theirs = calc_price(
        read.usage, asked.id, provider_id=provider_id, genai_request_timestamp=NOON, price_context=context
    )
    assert cost.usd == theirs.total_price > 0


def _as_one_body(path: Path) -> dict[str, Any]:
    """Return a payload as the SDK would in one piece, with the last usage of each field of a stream."""
    if path.suffix == ".json":
        return json.loads(path.read_text())
    events = [json.loads(line[6:]) for line in path.read_text().split("\n") if line.startswith("data: {")]
    body: dict[str, Any] = {}
    for event in events:
        whole = event.get("message") or event
        body |= {"model": whole.get("model") or body.get("model")}
        body["usage"] = {**body.get("usage", {}), **(whole.get("usage") or {})}
    return body


def test_the_payloads_are_valid_for_the_sdks_types() -> None:
    from anthropic.types import Message as Whole
    from openai.types.chat import ChatCompletion, ChatCompletionChunk

    Whole.model_validate_json((GOLDEN / "anthropic-whole.json").read_bytes(), strict=True)
    for name in ("openai", "deepseek"):
        ChatCompletion.model_validate_json((GOLDEN / f"{name}-whole.json").read_bytes(), strict=True)
        for line in (GOLDEN / f"{name}-stream.sse").read_text().split("\n"):
            if line.startswith("data: {"):
                ChatCompletionChunk.model_validate_json(line[6:], strict=True)


def test_a_cheaper_service_tier_costs_less() -> None:
    registry = Registry.load("current")
    usage = Usage(input_tokens=1_000, output_tokens=1_000)
    for model_id, tier, share in (("claude-sonnet-5-5", "batch", "0.5"), ("gpt-6.1-terra", "batch", "0.5")):
        usual = prices.cost(registry[model_id], usage, NOON).usd
        assert prices.cost(registry[model_id], usage, NOON, tier).usd == usual * Decimal(share)


@pytest.mark.parametrize(
    ("usage", "factor", "source"),
    [
        ({"speed": "fast"}, 1, "price of fast not known"),
        ({"inference_geo": "us"}, "1.1", "region us"),
        ({"inference_geo": "global", "speed": "standard", "service_tier": "standard"}, 1, ""),
        ({"inference_geo": "not_available", "speed": None}, 1, ""),
        ({"inference_geo": 5, "speed": ["fast"]}, 1, ""),
    ],
)
@pytest.mark.parametrize("name", ["anthropic-stream.sse", "anthropic-whole.json"])
async def test_terms_that_claude_reports_about_its_price_are_priced(
    server: Any, tmp_path: Path, name: str, usage: dict[str, Any], factor: str, source: str
) -> None:
    stated = json.dumps({"service_tier": None, **usage})[1:-1]
    text = re.sub(r'"(?:service_tier|speed|inference_geo)": ?"\w*"', '"_": 0', (GOLDEN / name).read_text())
    (tmp_path / name).write_text(re.sub(r'"usage": ?{', f'"usage": {{{stated}, ', text))
    _, counts, finished = await answered(server, str(tmp_path / name))
    assert counts == EXPECTED[name]
    spec = Registry.load("current")[MODELS["anthropic"]]
    cost = prices.cost(spec, counts, NOON, finished.service_tier, speed=finished.speed, region=finished.region)
    assert cost.usd == Decimal(factor) * prices.cost(spec, counts, NOON).usd
    assert cost.price_source.partition(", ")[2] == source
