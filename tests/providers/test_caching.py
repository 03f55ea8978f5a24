"""The fields that are sent about prompt caches, and the bill of ten prompts with the same attachment by the rules of the wires."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from llm_magic import Ledger, Registry, Router, Usage, prices
from llm_magic.plan.prefixes import LIFETIME, MIN_TOKENS
from llm_magic.providers import anthropic, caching, openai
from llm_magic.providers.base import ProviderRequest
from llm_magic.testing import FakeClock, Reply, ScriptedProvider
from llm_magic.types import Attachment, Message
from tests.support.builders import NOON

REPORT = Attachment(name="report.txt", text="sales grew in the north and fell in the south. " * 1_000)
CELLS = 10


def request(model_id: str, text: str, **fields: Any) -> ProviderRequest:
    model = Registry.load("current")[model_id]
    return ProviderRequest(model=model, messages=(Message(role="user", content=text),), max_output_tokens=100, **fields)


def gpt_body(asked: ProviderRequest, base_url: str | None = None) -> dict[str, Any]:
    return caching.for_openai(asked, openai.request_body(asked), base_url)


def test_a_prompt_that_is_sent_once_pays_no_cache_write_on_gpt() -> None:
    body = gpt_body(request("gpt-6.1-terra", "word " * 20_000))
    assert body["extra_body"]["prompt_cache_options"] == {"mode": "explicit"}
    assert "prompt_cache_breakpoint" not in str(body)
    assert isinstance(body["messages"][0]["content"], str)


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:8000/v1", "https://openrouter.ai/api/v1"])
def test_other_endpoints_are_sent_nothing_about_openais_cache(base_url: str) -> None:
    asked = request("gpt-6.1-terra", "word", in_conversation=True, cache_key="key")
    assert "prompt_cache" not in str(gpt_body(asked, base_url))
    assert "prompt_cache" in str(gpt_body(asked, "https://eu.api.openai.com/v1"))


def test_older_models_are_sent_nothing_about_the_cache() -> None:
    article = Registry.load("article")["gpt-5.5"]
    asked = ProviderRequest(model=article, messages=(Message(role="user", content="hi"),), max_output_tokens=10)
    assert "prompt_cache" not in str(gpt_body(asked))


def test_a_conversation_on_gpt_has_a_key_and_the_implicit_breakpoint() -> None:
    extra = gpt_body(request("gpt-6-luna", "hi", in_conversation=True, cache_key="abc"))["extra_body"]
    assert extra["prompt_cache_key"] == "abc"
    assert "prompt_cache_options" not in extra


def test_a_shared_prefix_is_marked_where_it_ends() -> None:
    asked = {"marks_prefix": True, "prefix_chars": 6, "cache_key": "abc", "system": "Be brief."}
    shared, rest = gpt_body(request("gpt-6-luna", "prefix and rest", **asked))["messages"][1]["content"]
    assert (shared["text"], rest["text"]) == ("prefix", " and rest")
    assert shared["prompt_cache_breakpoint"] == {"mode": "explicit"}
    shared, rest = anthropic.request_body(request("claude-haiku-5-5", "prefix and rest", **asked))["messages"][0][
        "content"
    ]
    assert shared == {"type": "text", "text": "prefix", "cache_control": {"type": "ephemeral"}}
    assert "cache_control" not in rest


def test_a_system_prompt_alone_is_marked_too() -> None:
    asked = {"marks_prefix": True, "system": "Be brief."}
    (block,) = anthropic.request_body(request("claude-haiku-5-5", "hi", **asked))["system"]
    assert block["cache_control"] == {"type": "ephemeral"}
    (part,) = gpt_body(request("gpt-6-luna", "hi", **asked))["messages"][0]["content"]
    assert part["prompt_cache_breakpoint"] == {"mode": "explicit"}


def test_params_of_the_user_win() -> None:
    asked = request("gpt-6-luna", "hi")
    own = dataclasses.replace(asked.model, params={"prompt_cache_options": {"mode": "implicit"}})
    body = gpt_body(dataclasses.replace(asked, model=own))
    assert body["extra_body"]["prompt_cache_options"] == {"mode": "implicit"}


class Caching:
    """Bills prompts by the rules of a wire: reads what is cached, and writes a marked prefix.

    DeepSeek reads whatever it has seen.
    """

    def __init__(self, shared_tokens: int) -> None:
        self.shared, self.cached = shared_tokens, False

    def __call__(self, asked: ProviderRequest) -> Reply:
        usage = Usage(input_tokens=self.shared + 50, output_tokens=20)
        is_automatic = asked.model.prompt_cache == "automatic"
        if self.cached and (asked.marks_prefix or is_automatic):
            usage = Usage(input_tokens=self.shared + 50, cached_input_tokens=self.shared, output_tokens=20)
        elif asked.marks_prefix:
            usage = Usage(input_tokens=self.shared + 50, cache_write_tokens=self.shared, output_tokens=20)
        self.cached = self.cached or asked.marks_prefix or is_automatic
        return Reply(chunks=("answer",), usage=usage)


def asking(model_id: str, *, clock: FakeClock | None = None) -> tuple[Router, ScriptedProvider, Callable[..., Any]]:
    registry = Registry.load("current")
    provider = ScriptedProvider(Caching(10_000))
    clock = clock or FakeClock(NOON)
    router = Router(
        registry=registry,
        ledger=Ledger(":memory:"),
        providers={registry[model_id].provider: provider},
        clock=clock.clock(),
    )

    def ask(number: int, **options: Any) -> Any:
        options = {"model": model_id, "tier": "BULK", "effort": "low", "attach": [REPORT]} | options
        return router.route_sync(f"Question {number}", **options)

    return router, provider, ask


@pytest.mark.parametrize("model_id", ["claude-haiku-5-5", "gpt-6.1-terra", "deepseek-flash"])
def test_ten_cells_with_the_same_attachment(model_id: str) -> None:
    router, provider, ask = asking(model_id)
    for number in range(CELLS):
        ask(number)
    marked = [asked.marks_prefix for asked in provider.requests]
    rows = router.ledger.rows()
    model = router.registry[model_id]
    without = sum(
        (
            prices.cost(model, Usage(input_tokens=10_050, output_tokens=20), row.started_at, row.service_tier).usd
            for row in rows
        ),
        Decimal(0),
    )
    spent, saved = router.ledger.spent_usd, sum((row.cache_saved_usd for row in rows), Decimal(0))
    assert marked == ([False] * CELLS if model_id == "deepseek-flash" else [False] + [True] * (CELLS - 1))
    assert without - spent == saved > 0
    assert spent < without * Decimal("0.42")
    if model_id != "deepseek-flash":
        assert rows[1].cache_saved_usd < 0, "a write costs more than it saves"
        assert rows[2].cache_saved_usd > 0
    assert router.ledger.report().totals["cache_saved_usd"] == pytest.approx(float(saved))


def test_a_prefix_is_marked_from_the_first_prompt_on_if_it_is_forced() -> None:
    _, provider, ask = asking("claude-haiku-5-5")
    ask(1, cache_prefix=True)
    assert provider.requests[0].marks_prefix


def test_a_prefix_that_no_longer_is_in_the_cache_is_written_again_or_not_at_all() -> None:
    clock = FakeClock(NOON)
    router, provider, ask = asking("claude-haiku-5-5", clock=clock)
    ask(1)
    clock.advance(31 * 60)
    ask(2)
    assert [asked.marks_prefix for asked in provider.requests] == [False, False]
    assert router.ledger.rows()[1].cache_saved_usd == 0


def test_a_short_prefix_is_not_marked() -> None:
    router, provider, _ = asking("claude-haiku-5-5")
    for _ in range(3):
        router.route_sync("Hello", model="claude-haiku-5-5", tier="BULK", system="Be brief.", cache_prefix=True)
    assert not any(asked.marks_prefix for asked in provider.requests)


def test_the_plan_shows_what_the_cache_is_expected_to_save() -> None:
    router, _, ask = asking("claude-haiku-5-5")
    options: dict[str, Any] = {"model": "claude-haiku-5-5", "tier": "BULK", "effort": "low"}

    def plan() -> Any:
        return router.plan("Question", attach=[REPORT], **options)

    fresh = plan()
    assert [extra.name for extra in fresh.extras] == ["report.txt"]
    ask(1)
    written = plan()
    assert "added" in written.extras[0].detail
    ask(2)
    read = plan()
    assert "saved" in read.extras[0].detail
    assert read.extras[0].usd > written.extras[0].usd > 0
    assert read.expected_usd < written.expected_usd


def test_limits_of_the_caches_are_those_of_the_providers() -> None:
    assert (MIN_TOKENS["breakpoints"], MIN_TOKENS["explicit"]) == (512, 1_024)
    assert (LIFETIME["breakpoints"].seconds, LIFETIME["explicit"].seconds) == (300, 1_800)
    registry = Registry.load("current")
    assert {model.id: model.prompt_cache for model in registry if model.provider != "local"} == {
        "claude-opus-5-5": "breakpoints",
        "claude-sonnet-5-5": "breakpoints",
        "claude-haiku-5-5": "breakpoints",
        "gpt-6.1-terra": "explicit",
        "gpt-6.1-sol": "explicit",
        "gpt-6-luna": "explicit",
        "deepseek-flash": "automatic",
        "deepseek-v4-pro": "automatic",
    } | {model.id: model.prompt_cache for model in registry if model.id.startswith(("gpt-6.2", "claude-fable"))}
