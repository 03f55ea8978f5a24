"""The cost that a provider states itself: kept in the row, compared, charged for models with a stated price."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_magic import RouteResult
from llm_magic.events import TextDelta
from llm_magic.providers.base import Finished, ProviderEvent, ProviderRequest, UsageReport
from llm_magic.providers.stated_costs import stated_cost
from llm_magic.types import Attempt, CostBasis, Usage
from tests.support import builders
from tests.support.builders import model
from tests.support.fuzzing import examples

OWN_USD = Decimal("0.00011")  # 10 tokens at $1 and 10 at $10 per million


class Stating:
    """A provider that reports 10 input and 10 output tokens, and a cost."""

    def __init__(self, cost_usd: Decimal | None, **report: Any) -> None:
        self.report = UsageReport(usage=Usage(input_tokens=10, output_tokens=10), cost_usd=cost_usd, **report)

    def unavailable(self) -> None:
        return None

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        yield TextDelta(text="word " * 9)
        yield self.report
        yield Finished(finish_reason="stop", served_model=request.model.id)


async def answered(cost_usd: str | None, *, price: str = "1/10", **report: Any) -> tuple[RouteResult, Attempt]:
    provider = Stating(None if cost_usd is None else Decimal(cost_usd), **report)
    router = builders.router(model("m", price=price), providers={"cloud": provider})
    result = await router.route("hello", cascade=False)
    (row,) = router.ledger.rows()
    assert row == result.attempts[0]
    return result, row


@pytest.mark.parametrize("cost_usd", ["0.00011", "0.0001095", "0.000111"])
async def test_a_stated_cost_within_one_percent_is_charged_without_a_note(cost_usd: str) -> None:
    result, row = await answered(cost_usd)
    assert row.cost_usd == row.provider_cost_usd == Decimal(cost_usd)
    assert (row.cost_basis, row.cost_estimated, result.notes) == (CostBasis.REPORTED, False, ())


@pytest.mark.parametrize("cost_usd", ["0.00012", "0.00008", "0.0009", "0.00001"])
async def test_a_stated_cost_that_differs_is_charged_and_noted(cost_usd: str) -> None:
    result, row = await answered(cost_usd)
    assert row.cost_usd == row.provider_cost_usd == result.cost_usd == Decimal(cost_usd)
    assert row.baseline_usd == row.cost_usd, "the baseline is the same model"
    (note,) = result.notes
    assert note == (
        f"m: the provider states a cost of ${cost_usd}, llm_magic's prices give $0.00011; "
        "the provider's cost is charged"
    )


async def test_without_a_stated_cost_the_prices_count() -> None:
    result, row = await answered(None)
    assert (row.cost_usd, row.provider_cost_usd, result.notes) == (OWN_USD, None, ())


@pytest.mark.parametrize("cost_usd", ["0", "0.000001", "5", "99999"])
async def test_a_stated_cost_that_is_not_credible_is_not_charged_or_kept(cost_usd: str) -> None:
    result, row = await answered(cost_usd)
    assert (row.cost_usd, row.provider_cost_usd) == (OWN_USD, None)
    (note,) = result.notes
    assert "which is not credible for 10 input and 10 output tokens" in note


@pytest.mark.parametrize(("cost_usd", "charged"), [("0.0002", "0.0002"), ("0", "0"), ("1", "0")])
async def test_a_model_with_a_price_of_zero_is_charged_what_its_provider_states(cost_usd: str, charged: str) -> None:
    _, row = await answered(cost_usd, price="0/0")
    assert row.cost_usd == Decimal(charged)


async def test_a_catalog_price_counts_and_the_stated_cost_is_kept_for_comparison() -> None:
    spec = builders.replaced(model("gpt-6.1-terra", provider="openai"), price=None)
    router = builders.router(spec, providers={"openai": Stating(Decimal("0.0001"))})
    result = await router.route("hello", cascade=False)
    (row,) = result.attempts
    assert (row.cost_usd, row.provider_cost_usd) == (Decimal("0.00006"), Decimal("0.0001"))
    assert "llm_magic's cost is charged" in result.notes[0]


async def test_a_doubted_report_with_a_stated_cost_is_charged_within_its_hold() -> None:
    _, row = await answered("0.0002", doubt="the provider reported a contradiction")
    assert (row.cost_usd, row.cost_estimated, row.provider_cost_usd) == (Decimal("0.0002"), True, Decimal("0.0002"))
    assert row.cost_high_usd is not None
    assert row.cost_usd <= row.cost_high_usd


async def test_the_column_is_in_the_frame() -> None:
    router = builders.router(model("m", price="1/10"), providers={"cloud": Stating(Decimal("0.00012"))})
    await router.route("hello", cascade=False)
    router.providers["cloud"].report = UsageReport(usage=Usage(input_tokens=10, output_tokens=10))  # type: ignore[attr-defined]
    await router.route("hello again", cascade=False)
    stated = router.ledger.to_frame()["provider_cost_usd"]
    assert stated[0] == 0.00012
    assert stated.isna().tolist() == [False, True]


@settings(max_examples=examples(40), deadline=None)
@given(cost=st.floats() | st.integers() | st.text(max_size=8) | st.booleans() | st.none(), ticks=st.booleans())
async def test_no_stated_cost_makes_a_row_negative_or_absurd(cost: object, ticks: bool) -> None:
    stated = stated_cost({"cost_in_usd_ticks" if ticks else "cost": cost})
    _, row = await answered(None if stated is None else str(stated))
    assert 0 < row.cost_usd <= 1
    assert row.provider_cost_usd is None or 0 < row.provider_cost_usd <= 1
