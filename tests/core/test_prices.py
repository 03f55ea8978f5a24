"""Prices: costs equal those of the catalog's own calculator, and the worst case is never exceeded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from genai_prices import Usage as TheirUsage
from genai_prices import calc_price
from hypothesis import given
from hypothesis import strategies as st

from llm_magic import Registry, UnknownPrice, Usage, prices
from tests.support.builders import NOON, model, replaced

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
        assert prices.cost(spec, usage, at).usd <= worst


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
