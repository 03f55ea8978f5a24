"""`%route_models --check` against servers that list models in the forms of several providers."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from llm_magic import Registry
from llm_magic.providers.listing import parse_models
from llm_magic.providers.wires import connect
from llm_magic.routing import model_check
from llm_magic.routing.model_check import ModelCheck, check_models
from llm_magic.types import Effort, ModelSpec, ProviderSpec
from tests.support.builders import model

Json = Any


class ListServer(ThreadingHTTPServer):
    """Answers `GET` by path. `requests` is its journal of method, path and key."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, tuple[int, Json]] = {}
        self.requests: list[tuple[str, str, str]] = []
        self.delay_s = 0.0
        self.pages: dict[str, str] = {}

    def handle_error(self, *_: object) -> None:
        """Ignore clients that do not wait for a slow answer."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: ListServer

    def do_GET(self) -> None:
        key = self.headers.get("x-api-key") or self.headers.get("authorization", "").removeprefix("Bearer ")
        self.server.requests.append((self.command, self.path, key))
        time.sleep(self.server.delay_s)
        status, body = self.server.answers.get(self.path.partition("?")[0], (404, {"error": {"message": "nothing"}}))
        if self.server.pages:
            query = self.path.partition("?")[2].removeprefix("limit=1000").removeprefix("&")
            status, body = 200, self.server.pages[query]
        payload = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ListServer]:
    with ListServer() as serving:
        thread = threading.Thread(target=serving.serve_forever, args=(0.01,))
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


def checked(
    server: ListServer, monkeypatch: pytest.MonkeyPatch, api: str, *models: ModelSpec, prefix: str = ""
) -> dict[str, ModelCheck]:
    """Return the checks of models of one provider at the server, by model."""
    monkeypatch.setenv("LIST_KEY", "sk-list-key")
    spec = ProviderSpec(name="cloud", api=api, base_url=server.url + prefix, api_key_env="LIST_KEY")
    registry = Registry(models=models, providers=[spec])
    return {check.model: check for check in check_models(registry, {"cloud": connect(spec)})}


CLAUDE = {
    "type": "model", "id": "claude-opus-5-5", "display_name": "Opus", "created_at": "2026-09-22T00:00:00Z",
    "lifecycle": "active", "max_input_tokens": 1_000_000, "max_tokens": 128_000,
    "capabilities": {
        "image_input": {"supported": True},
        "effort": {"supported": True, "low": {"supported": True}, "medium": {"supported": True},
                   "high": {"supported": True}, "max": {"supported": False}},
    },
}  # fmt: skip


def test_claude_models_are_available_retiring_gone_or_new(server: ListServer, monkeypatch: pytest.MonkeyPatch) -> None:
    old = CLAUDE | {"id": "claude-sonnet-4-5-20250929", "lifecycle": "deprecated", "retires_at": "2026-11-30T00:00:00Z"}
    new = CLAUDE | {"id": "claude-fable-5-2", "created_at": "2026-11-09T00:00:00Z"}
    aged = CLAUDE | {"id": "claude-opus-4-1", "created_at": "2025-08-05T00:00:00Z"}
    server.answers["/v1/models"] = 200, {"data": [CLAUDE, old, new, aged], "has_more": False}
    opus = model("claude-opus-5-5", context_window=1_000_000, max_output_tokens=64_000, image_tokens=4_784)
    checks = checked(server, monkeypatch, "anthropic", opus, model("claude-sonnet-4-5"), model("claude-2"))
    assert {name: (str(check.status), check.detail) for name, check in checks.items()} == {
        "claude-opus-5-5": ("available", ""),
        "claude-sonnet-4-5": ("retiring", "retires on 2026-11-30"),
        "claude-2": ("gone", "claude-2 is not in the provider's list"),
        "claude-fable-5-2": ("new", "since 2026-11-09"),
    }
    assert checks["claude-opus-5-5"].differences == ("max_output_tokens: 64,000 here, 128,000 there",)
    assert "images: read there" in checks["claude-sonnet-4-5"].differences
    assert [(method, key) for method, _, key in server.requests] == [("GET", "sk-list-key")]


def test_efforts_that_differ_are_named(server: ListServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answers["/v1/models"] = 200, {"data": [CLAUDE]}
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-list-key")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
    registry = Registry.load("current")
    provider = connect(registry.providers["anthropic"])
    checks = {check.model: check for check in check_models(registry, {"anthropic": provider})}
    assert checks["claude-opus-5-5"].differences == ("effort max: not accepted there",)
    assert (checks["gpt-6.1-terra"].status, checks["gpt-6.1-terra"].detail) == ("not asked", "no such provider")


LISTS: list[tuple[str, str, Json, tuple[str, ...]]] = [
    ("OpenAI", "gpt-6.1-terra",
     {"object": "list", "data": [{"id": "gpt-6.1-terra", "object": "model", "created": 1, "owned_by": "system"}]}, ()),
    ("a dated name", "gpt-6.1-terra", {"data": [{"id": "gpt-6.1-terra-2026-10-27"}]}, ()),
    ("OpenRouter", "meta/llama",
     {"data": [{"id": "meta/llama", "context_length": 131_072, "pricing": {"prompt": "0.0000015", "completion": "0.000008"},
                "top_provider": {"max_completion_tokens": 16_384},
                "architecture": {"input_modalities": ["text", "image"]}}]},
     ("context_window: 100,000 here, 131,072 there", "max_output_tokens: 10,000 here, 16,384 there",
      "images: read there", "price.input: 2 here, 1.5 there")),
    ("Groq", "llama", {"data": [{"id": "llama", "active": True, "context_window": 8_192, "max_completion_tokens": 4_096}]},
     ("context_window: 100,000 here, 8,192 there", "max_output_tokens: 10,000 here, 4,096 there")),
    ("vLLM", "qwen", {"data": [{"id": "qwen", "max_model_len": 32_768}]}, ("context_window: 100,000 here, 32,768 there",)),
    ("llama.cpp", "local.gguf", {"data": [{"id": "local.gguf", "meta": {"n_ctx": 4_096, "n_ctx_train": 131_072}}]},
     ("context_window: 100,000 here, 4,096 there",)),
    ("Together", "zai/glm", [{"id": "zai/glm", "context_length": 100_000}], ()),
    ("Ollama", "llama3.2", {"object": "list", "data": [{"id": "llama3.2:latest"}]}, ()),
    ("Gemini", "gemini-3-flash", {"data": [{"id": "models/gemini-3-flash"}]}, ()),
    ("LM Studio", "qwen3", {"data": [{"id": "qwen3", "state": "loaded", "max_context_length": 131_072, "loaded_context_length": 4_096}]},
     ("context_window: 100,000 here, 4,096 there",)),
    ("DeepInfra", "zai/glm", {"data": [{"id": "zai/glm", "metadata": {"context_length": 100_000, "max_tokens": 8_192}}]},
     ("max_output_tokens: 10,000 here, 8,192 there",)),
    ("Novita", "zai/glm", {"data": [{"id": "zai/glm", "context_size": 65_536}]}, ("context_window: 100,000 here, 65,536 there",)),
    ("Gemini's own form", "gemini-3-flash", {"models": [{"name": "models/gemini-3-flash", "outputTokenLimit": 65_536}]},
     ("max_output_tokens: 10,000 here, 65,536 there",)),
    ("Cloudflare", "@cf/llama", {"success": True, "result": [{"id": "uuid", "name": "@cf/x"}, {"name": "@cf/llama"}]}, ()),
    ("by name", "llama", {"data": {"llama": {"context_length": 100_000}, "other": {}}}, ()),
    ("names alone", "llama", {"data": ["other", "llama"]}, ()),
    ("a list within", "llama", {"data": {"models": [{"id": "llama"}]}}, ()),
    ("xAI", "grok-4", {"models": [{"id": "grok-4-0709", "aliases": ["grok-4", "grok-4-latest"]}]}, ()),
    ("a variant of OpenRouter", "meta/llama:nitro", {"data": [{"id": "meta/llama"}]}, ()),
    ("Mistral", "mistral-large", {"data": [{"id": "mistral-large", "max_context_length": 100_000,
                                           "capabilities": {"vision": False}}]}, ()),
]  # fmt: skip


@pytest.mark.parametrize(("name", "body", "differences"), [row[1:] for row in LISTS], ids=[row[0] for row in LISTS])
def test_the_lists_of_endpoints_are_read(
    server: ListServer, monkeypatch: pytest.MonkeyPatch, name: str, body: Json, differences: tuple[str, ...]
) -> None:
    server.answers["/v1/models"] = 200, body
    spec = model(name, price="2/8", context_window=100_000, max_output_tokens=10_000)
    checks = checked(server, monkeypatch, "openai", spec, prefix="/v1")
    assert str(checks[name].status) == "available"
    assert checks[name].differences == differences


@pytest.mark.parametrize(
    ("entry", "status", "detail"),
    [
        ({"active": False}, "gone", "retired"),
        ({"deprecation": "2026-12-01"}, "retiring", "retires on 2026-12-01"),
        ({"expiration_date": "2027-01-15"}, "retiring", "retires on 2027-01-15"),
        ({"deprecated": True}, "retiring", "deprecated, without a date"),
        ({"is_deprecated": True}, "retiring", "deprecated, without a date"),
        ({"status": "Shutdown"}, "gone", "retired"),
        ({"deprecation_date": 1_796_083_200_000}, "retiring", "retires on 2026-12-01"),
        ({"lifecycle": "deprecated"}, "retiring", "deprecated, without a date"),
        ({"lifecycle": "retired", "retires_at": "2026-01-01T00:00:00Z"}, "gone", "retired"),
    ],
)
def test_a_retirement_is_read_in_every_form(
    server: ListServer, monkeypatch: pytest.MonkeyPatch, entry: Json, status: str, detail: str
) -> None:
    server.answers["/v1/models"] = 200, {"data": [{"id": "m"} | entry]}
    check = checked(server, monkeypatch, "openai", model("m"))["m"]
    assert (str(check.status), check.detail) == (status, detail)


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (401, {"error": {"message": "bad key sk-list-key"}}, "refuses the key (HTTP 401)"),
        (403, {"error": {"message": "no"}}, "refuses the key (HTTP 403)"),
        (404, {"error": {"message": "no"}}, "has no list of models (HTTP 404)"),
        (500, {"error": {"message": "key sk-list-key broke"}}, "can't be asked: InternalServerError"),
        (200, {"data": []}, "the provider's list is empty"),
        (200, {"data": None}, "something that is not a list of models"),
        (200, {"data": 5}, "something that is not a list of models"),
        (200, "<html>", "something that is not a list of models"),
        (200, "", "not a list of models"),
    ],
)
def test_an_endpoint_that_does_not_list_its_models_is_reported_in_words(
    server: ListServer, monkeypatch: pytest.MonkeyPatch, status: int, body: Json, says: str
) -> None:
    server.answers["/v1/models"] = status, body
    check = checked(server, monkeypatch, "openai", model("m"))["m"]
    assert check.status == "unknown"
    assert says in check.detail
    assert "sk-list-key" not in check.detail


def test_a_silent_endpoint_is_not_waited_for_and_others_are_asked_meanwhile(
    server: ListServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_check, "MAX_WAIT_S", 0.3)
    server.delay_s = 1.5
    started = time.monotonic()
    check = checked(server, monkeypatch, "openai", model("m"))["m"]
    assert (check.status, check.detail) == ("unknown", "no answer within 0.3 s")
    assert time.monotonic() - started < 1.4


def test_a_provider_without_a_key_is_not_asked(server: ListServer, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ProviderSpec(name="cloud", base_url=server.url, api_key_env="MISSING_KEY")
    registry = Registry(models=[model("m")], providers=[spec])
    (check,) = check_models(registry, {"cloud": connect(spec)})
    assert (check.status, check.detail) == ("not asked", "no MISSING_KEY")
    assert server.requests == []


PAGES: list[tuple[str, dict[str, Json]]] = [
    ("anthropic", {"": {"data": [{"id": "a"}], "has_more": True, "first_id": "a", "last_id": "a"},
                   "after_id=a": {"data": [{"id": "m"}], "has_more": False, "first_id": "m", "last_id": "m"}}),
    ("openai", {"": {"data": [{"id": "a"}], "has_more": True}, "after=a": {"data": [{"id": "m"}], "has_more": False}}),
    ("openai", {"": {"models": [{"name": "models/a"}], "nextPageToken": "q/1"}, "pageToken=q%2F1": {"models": [{"name": "models/m"}]}}),
]  # fmt: skip


@pytest.mark.parametrize(("api", "pages"), PAGES)
def test_every_page_of_a_list_is_read(
    server: ListServer, monkeypatch: pytest.MonkeyPatch, api: str, pages: dict[str, Json]
) -> None:
    server.pages = {page: json.dumps(body) for page, body in pages.items()}
    assert str(checked(server, monkeypatch, api, model("m"))["m"].status) == "available"


@pytest.mark.parametrize("entry", [
    {}, {"id": None}, {"id": 5}, {"id": "m", "created": "soon"}, {"id": "m", "created": 1e300}, {"id": "m", "created": -1e300},
    {"id": "m", "capabilities": [], "pricing": "free", "architecture": 3}, {"id": "m", "max_tokens": "many"},
    {"id": "m", "retires_at": 5, "lifecycle": ["x"]}, {"id": "m\ud800\x00"}, {"id": "m", "pricing": {"prompt": "NaN"}},
])  # fmt: skip
def test_any_entry_of_a_list_is_read_or_left_out(entry: Json) -> None:
    for listed in parse_models({"data": [entry, 5, None]}):
        assert listed.id
        assert listed.input_usd is None


def test_levels_of_effort_that_are_not_stated_are_not_compared() -> None:
    (stated,) = parse_models({"data": [{"id": "m", "capabilities": {"effort": {"low": {"supported": True}}}}]})
    (unstated,) = parse_models({"data": [{"id": "m", "capabilities": {"effort": {"supported": False}}}]})
    assert (stated.efforts, unstated.efforts) == (frozenset({Effort.LOW}), None)
