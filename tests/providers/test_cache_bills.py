"""Bills of prompts that share a prefix, by the rules of the providers' caches, with and without them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from llm_magic import Ledger, Registry, Router, Usage, prices
from llm_magic.testing import FakeClock, ScriptedProvider
from llm_magic.types import Attachment
from tests.support.builders import NOON
from tests.support.cache_rules import OUTPUT_TOKENS, PromptCache, tokens_of

MODELS = ("claude-haiku-5-5", "gpt-6.1-terra", "deepseek-flash")
SHARED_TOKENS = 10_000
TEXT = "sales grew in the north and fell in the south. "
LONG = TEXT * (4 * SHARED_TOKENS // len(TEXT))
SCHEMA = {
    "type": "object",
    "properties": {f"figure_{number}": {"type": "integer"} for number in range(120)},
    "required": [f"figure_{number}" for number in range(120)],
}


def routing(model_id: str, answer: str = "answer") -> tuple[Router, PromptCache]:
    registry, clock = Registry.load("current"), FakeClock(NOON)
    cache = PromptCache(clock, answer)
    router = Router(
        registry=registry,
        ledger=Ledger(":memory:"),
        providers={registry[model_id].provider: ScriptedProvider(cache)},
        clock=clock.clock(),
    )
    return router, cache


def options(model_id: str) -> dict[str, Any]:
    return {"model": model_id, "tier": "BULK", "effort": "low"}


def without_cache_usd(router: Router, model_id: str, usages: list[Usage]) -> Decimal:
    costs = (
        prices.cost(
            router.registry[model_id], Usage(input_tokens=usage.input_tokens, output_tokens=OUTPUT_TOKENS), NOON
        )
        for usage in usages
    )
    return sum((cost.usd for cost in costs), Decimal(0))


def check_savings(router: Router, model_id: str, cache: PromptCache, *, at_most: str) -> None:
    without = without_cache_usd(router, model_id, cache.usages)
    saved = sum((row.cache_saved_usd for row in router.ledger.rows()), Decimal(0))
    assert router.ledger.spent_usd == without - saved
    assert router.ledger.spent_usd < Decimal(at_most) * without


@pytest.mark.parametrize("model_id", MODELS)
def test_ten_cells_that_share_an_attachment_of_10_000_tokens(model_id: str) -> None:
    router, cache = routing(model_id)
    report = Attachment(name="report.txt", text=LONG)
    for number in range(10):
        router.route_sync(f"Question {number}", attach=[report], **options(model_id))
    assert [usage.cached_input_tokens > 9_000 for usage in cache.usages] == (
        [False] + [True] * 9 if model_id == "deepseek-flash" else [False, False] + [True] * 8
    )
    written = [usage.cache_write_tokens for usage in cache.usages]
    assert [bool(count) for count in written] == [number == 1 and model_id != "deepseek-flash" for number in range(10)]
    check_savings(router, model_id, cache, at_most="0.35")


@pytest.mark.parametrize("model_id", MODELS)
def test_a_prompt_of_20_000_tokens_that_is_sent_once_pays_no_write(model_id: str) -> None:
    router, cache = routing(model_id)
    router.route_sync(TEXT * (80_000 // len(TEXT)), **options(model_id))
    (usage,) = cache.usages
    assert usage.input_tokens > 19_000
    assert (usage.cache_write_tokens, usage.cached_input_tokens) == (0, 0)
    assert router.ledger.rows()[0].cache_saved_usd == 0


@pytest.mark.parametrize("model_id", MODELS)
@pytest.mark.parametrize(
    "text", [f"{LONG}\nTopic of: {{{{value}}}}", f"{LONG}\nTopic of this text:"], ids=["cell", "appended"]
)
async def test_the_instruction_of_a_column_is_written_once_and_read_by_the_other_rows(model_id: str, text: str) -> None:
    router, cache = routing(model_id)
    rows = [f"row {number}" for number in range(30)]
    column = await router.map(text, over=rows, **options(model_id))
    assert column.errors.empty if hasattr(column.errors, "empty") else not column.errors
    assert sum(usage.cache_write_tokens > 0 for usage in cache.usages) == (model_id != "deepseek-flash")
    assert sum(usage.cached_input_tokens > 9_000 for usage in cache.usages) == 29
    check_savings(router, model_id, cache, at_most="0.25")
    planned = column.plan_before
    assert planned is not None
    assert planned.expected_usd is not None
    assert float(router.ledger.spent_usd) == pytest.approx(float(planned.expected_usd), rel=0.6)


async def test_two_rows_with_a_long_instruction_write_nothing() -> None:
    router, cache = routing("claude-haiku-5-5")
    await router.map(f"{LONG}\nTopic of: {{{{value}}}}", over=["a", "b"], **options("claude-haiku-5-5"))
    assert [usage.cache_write_tokens for usage in cache.usages] == [0, 0]


@pytest.mark.parametrize("model_id", MODELS[:2])
def test_a_schema_counts_as_part_of_the_prefix_that_its_system_prompt_ends(model_id: str) -> None:
    answer = "{" + ", ".join(f'"figure_{number}": {number}' for number in range(120)) + "}"
    router, cache = routing(model_id, answer)
    system = "Read the figures. "
    for number in range(3):
        router.route_sync(f"Figures {number}", schema=SCHEMA, system=system, **options(model_id))
    assert tokens_of(system) < 20
    assert [usage.cached_input_tokens > 1_024 for usage in cache.usages] == [False, False, True]
