"""Prices: costs equal those of the catalog's own calculator, and the worst case is never exceeded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from genai_prices import Usage as TheirUsage
from genai_prices import calc_price
from hypothesis import given
from hypothesis import strategies as st

from llm_magic import Registry, UnknownPrice, Usage, prices
from llm_magic.types import LongPrompt, ModelSpec, Price
from tests.support.builders import NOON, model, replaced

BEIJING = timezone(timedelta(hours=8))
PAID = [spec for spec in Registry.load("current") if spec.price is None]
counts = st.integers(0, 400_000)
moments = st.integers(0, 7 * 24 * 60).map(
    lambda minutes: datetime(2026, 11, 23, tzinfo=UTC) + timedelta(minutes=minutes)
)


@given(spec=st.sampled_from(PAID), fresh=counts, cached=counts, written=counts, output=counts, at=moments)
def test_costs_equal_the_catalogs_own_calculation(
    spec: object, fresh: int, cached: int, written: int, output: int, at: datetime
) -> None:
    assert isinstance(spec, type(PAID[0]))
    usage = Usage(
        input_tokens=fresh + cached + written,
        cached_input_tokens=cached,
        cache_write_tokens=written,
        output_tokens=output,
    )
    catalog_cost = calc_price(
        TheirUsage(
            input_tokens=usage.input_tokens, cache_read_tokens=cached, cache_write_tokens=written, output_tokens=output
        ),
        model_ref=spec.api_model,
        provider_id=spec.provider,
        genai_request_timestamp=at,
    )
    own_cost = prices.cost(spec, usage, at)
    if spec.provider == "deepseek" and at.astimezone(BEIJING).weekday() >= 5:
        assert own_cost.usd <= catalog_cost.total_price, "the catalog has peak hours on weekends"
    else:
        assert own_cost.usd == catalog_cost.total_price
    assert own_cost.usd == round(own_cost.usd, 12), "whole pico-dollars: the ledger keeps it exactly"


@given(spec=st.sampled_from(PAID), used=counts, room=counts, cached=counts, output=counts, at=moments)
def test_no_usage_within_the_bounds_costs_more_than_the_worst_case(
    spec: object, used: int, room: int, cached: int, output: int, at: datetime
) -> None:
    assert isinstance(spec, type(PAID[0]))
    worst = prices.worst_case(spec, input_tokens=used + room, output_tokens=output, at=at)
    for usage in (
        Usage(input_tokens=used, output_tokens=output),
        Usage(input_tokens=used, cached_input_tokens=min(cached, used), output_tokens=output),
        Usage(input_tokens=used, cache_write_tokens=used, output_tokens=output),
    ):
        region = "us" if spec.provider == "anthropic" else None
        assert prices.cost(spec, usage, at, region=region).usd <= worst


@given(left=st.decimals(0, 1, places=6), bound=st.integers(0, 5_000), wanted=st.integers(1, 20_000), at=moments)
def test_affordable_output_fits_and_no_token_more_does(left: Decimal, bound: int, wanted: int, at: datetime) -> None:
    spec = PAID[0]
    fits = prices.affordable_output(spec, input_tokens=bound, left_usd=left, wanted=wanted, at=at)
    assert 0 <= fits <= wanted
    if fits:
        assert prices.worst_case(spec, input_tokens=bound, output_tokens=fits, at=at) <= left
    if fits < wanted:
        assert prices.worst_case(spec, input_tokens=bound, output_tokens=fits + 1, at=at) > left


def test_a_stated_price_wins_and_is_the_source() -> None:
    cost = prices.cost(model("mine", price="2/8"), Usage(input_tokens=1_000_000, output_tokens=500_000), NOON)
    assert (cost.usd, cost.price_source) == (Decimal(6), "models.toml")


def test_an_unstated_cache_price_is_the_input_price() -> None:
    usage = Usage(input_tokens=1_000_000, cached_input_tokens=400_000, cache_write_tokens=100_000)
    assert prices.cost(model("mine", price="2/8"), usage, NOON).usd == 2


def test_peak_hours_and_long_prompts_cost_more() -> None:
    registry = Registry.load("current")
    short = Usage(input_tokens=1_000, output_tokens=100)
    peak = datetime(2026, 11, 24, 7, tzinfo=UTC)
    assert (
        prices.cost(registry["deepseek-flash"], short, peak).usd
        == 2 * prices.cost(registry["deepseek-flash"], short, NOON).usd
    )
    long = prices.cost(registry["claude-haiku-5-5"], Usage(input_tokens=100_001), NOON)
    assert long.input_price == 5 * prices.cost(registry["claude-haiku-5-5"], short, NOON).input_price


def test_an_unknown_price_is_an_error() -> None:
    spec = replaced(model("mystery"), price=None)
    with pytest.raises(UnknownPrice, match="no price is known for 'mystery'"):
        prices.cost(spec, Usage(), NOON)


@pytest.mark.parametrize(
    ("served", "billed_as"),
    [
        ("gpt-5.5", "gpt-5.5"),
        ("gpt-5.5-2026-04-01", "gpt-5.5"),
        ("gpt-6-luna", "gpt-6-luna"),
        ("nobody-knows-it", "gpt-5.5"),
        (None, "gpt-5.5"),
    ],
)
def test_the_served_model_is_the_billed_one(served: str | None, billed_as: str) -> None:
    registry = Registry.load("article")
    asked = registry["gpt-5.5"]
    billed = prices.served_spec(replaced(asked, price=None) if served == "gpt-6-luna" else asked, served, registry)
    assert billed.id == billed_as


def test_the_worst_case_of_a_cheaper_service_tier_is_the_usual_price() -> None:
    usual = Registry.load("current")["gpt-6.1-terra"]
    flex = replaced(usual, params={"service_tier": "flex"})
    worst = [prices.worst_case(spec, input_tokens=100, output_tokens=100, at=NOON) for spec in (usual, flex)]
    assert worst[1] >= worst[0]


MILLION_TOKENS = Usage(input_tokens=1_000_000)


def current(model_id: str, **fields: Any) -> ModelSpec:
    return replaced(Registry.load("current")[model_id], **fields)


@pytest.mark.parametrize(
    ("moment", "usd", "source"),
    [
        ("2026-11-27T02:00", "0.042", "peak hours; holidays in China not considered"),
        ("2026-11-27T05:00", "0.021", ""),
        ("2026-11-27T09:59", "0.042", "peak hours; holidays in China not considered"),
        ("2026-11-27T16:30", "0.021", "weekend in Beijing"),
        ("2026-11-28T02:00", "0.021", "weekend in Beijing"),
        ("2026-11-29T07:00", "0.021", "weekend in Beijing"),
        ("2026-11-29T20:00", "0.021", ""),
        ("2026-11-30T01:00", "0.042", "peak hours; holidays in China not considered"),
    ],
)  # fmt: skip
def test_deepseek_has_no_peak_hours_on_weekends_in_beijing(moment: str, usd: str, source: str) -> None:
    usage = Usage(input_tokens=100_000, output_tokens=10_000)
    cost = prices.cost(current("deepseek-flash"), usage, datetime.fromisoformat(moment).replace(tzinfo=UTC))
    assert cost.usd == Decimal(usd)
    assert cost.price_source.partition(", ")[2] == source


def test_a_hold_that_reaches_the_first_peak_hour_of_the_week_is_made_at_the_peak_price() -> None:
    spec = current("deepseek-flash")
    sunday, monday = (datetime(2026, 11, 30, 0, minute, tzinfo=UTC) for minute in (45, 55))
    worst = [prices.worst_case(spec, input_tokens=1_000, output_tokens=0, at=at) for at in (sunday, monday)]
    assert worst[1] == 2 * worst[0]


def test_a_fast_answer_is_priced_and_held_for() -> None:
    usual, fast = current("claude-opus-5-5"), current("claude-opus-5-5", params={"speed": "fast"})
    assert prices.cost(usual, MILLION_TOKENS, NOON).usd == 4
    cost = prices.cost(usual, MILLION_TOKENS, NOON, speed="fast")
    assert (cost.usd, cost.price_source.partition(", ")[2]) == (8, "fast")
    worst = [prices.worst_case(spec, input_tokens=1_000, output_tokens=1_000, at=NOON) for spec in (usual, fast)]
    assert worst[1] == 2 * worst[0]


@pytest.mark.parametrize("spec", [current("claude-haiku-5-5"), model("mine", price="1/2")])
def test_a_requested_speed_without_a_known_price_is_an_error(spec: ModelSpec) -> None:
    with pytest.raises(UnknownPrice, match="at speed = 'ludicrous'"):
        prices.worst_case(replaced(spec, params={"speed": "ludicrous"}), input_tokens=1, output_tokens=1, at=NOON)
    assert prices.cost(spec, MILLION_TOKENS, NOON, speed="ludicrous").usd > 0


def test_a_region_that_the_response_reports_is_priced_and_held_for() -> None:
    spec = current("claude-sonnet-5-5")
    cost = prices.cost(spec, MILLION_TOKENS, NOON, region="us")
    assert cost.usd == Decimal("1.1") * prices.cost(spec, MILLION_TOKENS, NOON).usd
    assert cost.price_source.endswith("region us")
    anywhere = Registry(models=[replaced(spec, params={"inference_geo": "global"}, fallback_id=None)])[spec.id]
    worst = [prices.worst_case(each, input_tokens=1_000, output_tokens=1_000, at=NOON) for each in (spec, anywhere)]
    assert worst[0] == Decimal("1.1") * worst[1]


@pytest.mark.parametrize(
    ("base_url", "model_id", "factor"),
    [
        ("https://eu.api.openai.com/v1", "gpt-6.1-terra", "1.1"),
        ("https://us.api.openai.com/v1/", "gpt-6.2-sol", "1.1"),
        ("https://jp.api.openai.com", "gpt-5.5", "1.1"),
        ("https://eu.api.openai.com/v1", "gpt-5.2-mini", "1"),
        ("https://eu.api.openai.com/v1", "gpt-4o", "1"),
        ("https://eu.api.openai.com/v1", "o3", "1"),
        ("https://api.openai.com/v1", "gpt-6.1-terra", "1"),
        ("https://eu.api.openai.com.evil.example/v1", "gpt-6.1-terra", "1"),
        ("https://us.api.x.ai/v1", "grok-4.6", "1.1"),
        ("https://api.x.ai/v1", "grok-4.6", "1"),
        ("https://us-api.together.ai/v1", "meta-llama/Llama-4", "1.25"),
        ("https://api.together.xyz/v1", "meta-llama/Llama-4", "1"),
        ("http://localhost:11434/v1", "llama3.2", "1"),
        ("", "gpt-6.1-terra", "1"),
    ],
)
def test_a_regional_endpoint_is_priced_and_held_for(
    monkeypatch: pytest.MonkeyPatch, base_url: str, model_id: str, factor: str
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", base_url)
    provider = Registry.load("current").providers["openai"]
    spec = model(model_id, provider="openai", price="2/8")
    regional = Registry(models=[spec], providers=[provider])[model_id]
    assert prices.cost(regional, MILLION_TOKENS, NOON).usd == 2 * Decimal(factor)
    worst = prices.worst_case(regional, input_tokens=1_000_000, output_tokens=1_000_000, at=NOON)
    assert worst == 10 * Decimal(factor)


def test_a_base_url_that_changes_later_changes_the_price(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    spec = current("gpt-6.1-terra")
    usual = prices.cost(spec, MILLION_TOKENS, NOON).usd
    monkeypatch.setenv("OPENAI_BASE_URL", "https://eu.api.openai.com/v1")
    assert prices.cost(spec, MILLION_TOKENS, NOON).usd == Decimal("1.1") * usual


def test_a_fee_for_each_request_is_charged_and_held() -> None:
    price = Price(input=Decimal(1), output=Decimal(1), request=Decimal("0.005"))
    spec = replaced(model("searching"), price=price)
    assert prices.cost(spec, Usage(input_tokens=1_000), NOON).usd == Decimal("0.006")
    assert prices.worst_case(spec, input_tokens=1_000, output_tokens=1_000, at=NOON) == Decimal("0.007")
    left = {"input_tokens": 0, "wanted": 100, "at": NOON}
    assert prices.affordable_output(spec, left_usd=Decimal("0.005001"), **left) == 1
    assert prices.affordable_output(spec, left_usd=Decimal("0.004999"), **left) == 0


def test_the_price_source_of_a_catalog_price_names_the_surcharge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "https://eu.api.openai.com/v1")
    source = prices.cost(Registry.load("current")["gpt-6.1-terra"], MILLION_TOKENS, NOON).price_source
    assert source.endswith("regional endpoint +10%")


@pytest.mark.parametrize(
    ("params", "factor"),
    [
        ({"reasoning_effort": "low"}, "1.25"),
        ({"service_tier": "default", "verbosity": "low"}, "1.25"),
        ({"cache_control": {"type": "ephemeral", "ttl": "5m"}}, "1.25"),
        ({"cache_control": {"type": "ephemeral", "ttl": "1h"}}, "2"),
        ({"prompt_cache_options": {"breakpoints": [{"ttl": "12h"}]}}, "2"),
    ],
)
def test_only_a_long_cache_raises_the_hold_of_the_input(params: dict[str, Any], factor: str) -> None:
    spec = current("gpt-6.1-terra", params=params)
    assert prices.worst_case(spec, input_tokens=1_000_000 // 4, output_tokens=0, at=NOON) == Decimal(factor) / 4


def test_tokens_that_are_cached_for_12_hours_cost_twice_the_input_price() -> None:
    spec = current("gpt-6.1-terra", params={"prompt_cache_options": {"ttl": "12h"}})
    usage = Usage(input_tokens=100_000, cache_write_tokens=100_000)
    assert prices.cost(spec, usage, NOON).usd == Decimal("0.2")


def test_a_stated_price_can_depend_on_length_tier_and_speed() -> None:
    price = Price(
        input=Decimal(2), output=Decimal(10), cached_input=Decimal("0.1"), source="price list, 2026-11-17",
        long_prompt=LongPrompt(above_tokens=272_000, input_factor=Decimal(2), output_factor=Decimal("1.5")),
        factors={"priority": Decimal(2), "flex": Decimal("0.5")},
    )  # fmt: skip
    spec = replaced(model("mine"), price=price)
    short, long = (Usage(input_tokens=count, output_tokens=100_000) for count in (272_000, 272_001))
    assert prices.cost(spec, short, NOON).usd == Decimal("1.544")
    assert prices.cost(spec, long, NOON).usd == Decimal("2.588004")
    assert prices.cost(spec, short, NOON, "priority").usd == 2 * prices.cost(spec, short, NOON).usd
    assert prices.cost(spec, short, NOON, "flex").usd == prices.cost(spec, short, NOON).usd / 2
    assert prices.cost(spec, short, NOON).price_source == "models.toml: price list, 2026-11-17"
    fast = replaced(spec, params={"service_tier": "priority"})
    worst = [prices.worst_case(each, input_tokens=100, output_tokens=100, at=NOON) for each in (spec, fast)]
    assert worst[1] == 2 * worst[0]
