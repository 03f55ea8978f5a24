"""Runs that the embedded model, or the user's own last resort, answers."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from llm_magic import AllAttemptsFailed, BudgetExceeded, NoCandidate, Registry, Router
from llm_magic.budget import Budget
from llm_magic.errors import AuthFailed, PaymentRequired, StreamBroken
from llm_magic.testing import Failure, FakeClock, Reply, ScriptedProvider, scripted_model, scripted_router
from llm_magic.types import ProviderSpec, TaskTier

PROVIDERS = (
    ProviderSpec(name="cloud", api_key_env="CLOUD_API_KEY"),
    ProviderSpec(name="rival", api_key_env="RIVAL_API_KEY"),
    ProviderSpec(name="local", api="local"),
)
STRONG = scripted_model("strong", price="4/20", fallback_id="second")
SECOND = scripted_model("second", price="1/5", provider="rival", tiers=())
LOCAL = scripted_model("local", price="0/0", provider="local", tiers=())


def router(cloud: ScriptedProvider, rival: ScriptedProvider | None = None, **parts: Any) -> Router:
    weak = dict.fromkeys(TaskTier, -2.0)
    local = dataclasses.replace(LOCAL, capability=weak)
    clock = FakeClock()
    base = scripted_router(clock=clock, **parts)
    return Router(
        registry=Registry(models=[STRONG, SECOND, local], providers=PROVIDERS),
        ledger=base.ledger,
        budget=base.budget,
        clock=clock.clock(),
        providers={"cloud": cloud, "rival": rival or cloud, "local": ScriptedProvider([Reply(chunks=("small",))])},
    )


def unconfigured(variable: str) -> ScriptedProvider:
    return ScriptedProvider(unavailable=f"no {variable}")


REFUSING = ScriptedProvider([Failure(error=AuthFailed("HTTP 401: invalid key"))])


def test_without_any_key_the_embedded_model_answers_and_names_the_variables_in_one_line() -> None:
    result = router(unconfigured("CLOUD_API_KEY"), unconfigured("RIVAL_API_KEY")).route_sync("Why is the sky blue?")
    assert result.model == "local"
    assert result.notes == (
        "local, the small model on this machine, answered because no other model is configured: "
        "set CLOUD_API_KEY or RIVAL_API_KEY",
    )
    assert result.savings_usd == 0


@pytest.mark.parametrize("error", [AuthFailed("HTTP 401: invalid key"), PaymentRequired("HTTP 402: no credit")])
def test_a_refused_key_is_an_error_that_names_the_variable(error: Exception) -> None:
    refusing = ScriptedProvider([Failure(error=error)])  # type: ignore[arg-type]
    with pytest.raises(AllAttemptsFailed, match=r"\. Check CLOUD_API_KEY and RIVAL_API_KEY$"):
        router(refusing).route_sync("Why is the sky blue?")


def test_the_last_resort_answers_after_refused_keys_if_the_user_names_it() -> None:
    result = router(REFUSING).route_sync("Why is the sky blue?", last_resort="local")
    assert result.model == "local"
    assert result.notes == (
        "local, the small model on this machine, answered as the last resort: strong: auth failed (HTTP 401: invalid "
        "key); second: auth failed (HTTP 401: invalid key). Check CLOUD_API_KEY and RIVAL_API_KEY",
    )
    assert result.savings_usd == 0


def test_a_spent_cap_is_an_error_that_names_the_last_resort() -> None:
    broke = router(ScriptedProvider(), budget=Budget(session_usd="0.000001"))
    with pytest.raises(BudgetExceeded, match="or add --last-resort local for an answer by the small model"):
        broke.route_sync("Why is the sky blue?")
    result = broke.route_sync("Why is the sky blue?", last_resort="local")
    assert result.model == "local"
    assert "over budget" in result.notes[-1]


def test_a_named_model_without_a_key_is_an_error_that_names_the_variable() -> None:
    lacking = router(unconfigured("CLOUD_API_KEY"), unconfigured("RIVAL_API_KEY"))
    with pytest.raises(NoCandidate, match=r"Set CLOUD_API_KEY or RIVAL_API_KEY, or leave out --model"):
        lacking.route_sync("Hello", model="strong")
    assert lacking.route_sync("Hello", model="local").notes == ()


def test_the_embedded_model_asked_by_name_saves_nothing() -> None:
    assert router(ScriptedProvider()).route_sync("Prove it", model="local").savings_usd == 0


def test_an_unknown_last_resort_is_an_error_before_anything_is_sent() -> None:
    provider = ScriptedProvider()
    with pytest.raises(ValueError, match="no model 'lcoal'"):
        router(provider).route_sync("Hello", last_resort="lcoal")
    assert not provider.requests


def test_equal_causes_of_a_model_are_named_once() -> None:
    broken = router(ScriptedProvider([Failure(error=StreamBroken("it ended early"))]))
    with pytest.raises(AllAttemptsFailed) as caught:
        broken.route_sync("Hello")
    assert caught.value.message == (
        "no answer after 6 attempts: strong: stream broken (it ended early) ×3; second: stream broken (it ended early) ×3"
    )


def test_a_fallback_below_the_requested_quality_is_not_counted_as_a_saving() -> None:
    weak = scripted_model("weak", price="0.1/0.5", tiers=(TaskTier.BULK,))
    strong = scripted_model("strong", price="4/20", tiers=(TaskTier.COMPLEX,), fallback_id="weak")
    replies = [Failure(error=AuthFailed("HTTP 401")), Reply()]
    result = scripted_router(strong, weak, replies=replies).route_sync("Hello", tier="complex")
    assert result.model == "weak"
    assert result.savings_usd == 0
    assert scripted_router(strong, weak).route_sync("Hello", tier="bulk").savings_usd > 0
