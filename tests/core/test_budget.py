"""Amounts and caps."""

from __future__ import annotations

from decimal import Decimal

import pytest

from llm_magic import Budget, BudgetError
from llm_magic.budget import Cap, show_usd, usd
from tests.support import builders


@pytest.mark.parametrize(
    ("given", "amount"),
    [("5", "5"), ("$0.50", "0.50"), (0.1, "0.1"), (3, "3"), (" 0 ", "0"), (Decimal("1.23"), "1.23")],
)
def test_amounts_are_parsed(given: object, amount: str) -> None:
    assert usd(given) == Decimal(amount)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "given", ["", "-1", -0.01, "nan", float("nan"), "inf", float("inf"), "5 USD", "five", True, "1,000"]
)
def test_an_invalid_amount_is_an_error(given: object) -> None:
    with pytest.raises(BudgetError, match="is not a USD amount"):
        usd(given)  # type: ignore[arg-type]
    with pytest.raises(BudgetError):
        builders.router().set_budget(given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0", "$0"), ("5", "$5.00"), ("0.0123", "$0.0123"), ("0.12", "$0.12"), ("1234.5", "$1,234.50"),
        ("0.0000012345", "$0.0000012"), ("-0.0003", "-$0.00030"), ("12.34567", "$12.3457"),
    ],
)  # fmt: skip
def test_amounts_are_displayed_to_a_hundredth_of_a_cent_and_never_as_zero(amount: str, shown: str) -> None:
    assert show_usd(Decimal(amount)) == shown


def test_the_lower_of_two_run_caps_applies() -> None:
    budget = Budget(session_usd=Decimal(5), run_usd=Decimal(1))
    assert budget.caps(model="m", max_cost_usd=Decimal(2))[0] == Cap(scope="run", limit_usd=Decimal(1))
    assert budget.caps(model="m", max_cost_usd=Decimal("0.5"))[0] == Cap(scope="run", limit_usd=Decimal("0.5"))
    assert Budget().caps(model="m") == ()


def test_every_scope_has_its_cap_and_its_name() -> None:
    budget = Budget(
        session_usd=1, run_usd=2, day_usd=3, month_usd=4, models_usd={"m": 5, "n": 6}, tags_usd={"t": 7, "u": 8}
    )  # type: ignore[arg-type]
    assert [str(cap) for cap in budget.caps(model="m", tags=("t", "x"))] == [
        "the cap of this run of $2.00",
        "the session's cap of $1.00",
        "the cap on m of $5.00",
        "the cap on the tag t of $7.00",
        "today's cap (UTC) of $3.00",
        "this month's cap (UTC) of $4.00",
    ]
    with pytest.raises(BudgetError):
        Budget(models_usd={"m": "nan"})  # type: ignore[dict-item]


def test_a_budget_accepts_every_form_of_amount() -> None:
    assert Budget(session_usd=0.1).session_usd == Decimal("0.1")  # type: ignore[arg-type]
    router = builders.router()
    assert router.set_budget(5.00).session_usd == 5
    assert router.set_budget(None).session_usd is None


def test_a_cap_on_an_unknown_model_is_an_error_and_changes_nothing() -> None:
    router = builders.router(budget=Budget(models_usd={"of another profile": Decimal(1)}))
    before = router.budget
    with pytest.raises(BudgetError, match="no model 'chaep': the registry has strong, cheap"):
        router.set_budget(3, models_usd={"chaep": 1})
    assert router.budget is before
    router.set_budget(models_usd={**before.models_usd, "cheap": 1})
    assert router.budget.models_usd == {"of another profile": 1, "cheap": 1}


def test_every_tag_of_a_run_has_its_own_cap() -> None:
    budget = Budget(tags_usd={"first": Decimal(1), "second": Decimal(2)})
    assert [cap.key for cap in budget.caps(model="m", tags=("first", "other", "second"))] == ["first", "second"]
