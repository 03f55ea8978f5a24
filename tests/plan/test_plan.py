"""Plans: who would be asked, in which order, at what cost. Pure."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from llm_magic import Registry, RequestError, TaskTier
from llm_magic.health import Circuit
from llm_magic.plan import PlanContext, make_plan
from llm_magic.plan.quotes import MIN_OUTPUT_TOKENS
from llm_magic.types import Classification, Plan, ProviderSpec, Request
from tests.support.builders import NOON, model, registry, replaced


def plan(
    models: Registry,
    tier: TaskTier = TaskTier.BULK,
    *,
    left: str | None = None,
    missing: dict[str, str] | None = None,
    cooling: dict[str, float] | None = None,
    prompt: str = "hello",
    **options: object,
) -> Plan:
    standing = PlanContext(
        now=NOON,
        left_usd=lambda _: None if left is None else Decimal(left),
        unavailable=lambda spec: (missing or {}).get(spec.provider),
        circuit=lambda name: Circuit(state="open", remaining_s=cooling[name]) if name in (cooling or {}) else Circuit(),
    )
    request = Request(prompt=prompt, **options)  # type: ignore[arg-type]
    return make_plan(request, Classification(tier=tier, confidence=1.0), models, standing)


def ids(made: Plan) -> list[str]:
    return [candidate.model.id for candidate in made.candidates]


ARTICLE = Registry.load("article")


@pytest.mark.parametrize(
    ("tier", "chain"),
    [
        (TaskTier.COMPLEX, ["claude-opus-4-7", "claude-sonnet-4-6", "gpt-5.5"]),
        (TaskTier.STANDARD, ["claude-sonnet-4-6", "gpt-5.5"]),
        (TaskTier.STRUCTURED, ["gpt-5.5", "claude-sonnet-4-6"]),
        (TaskTier.BULK, ["deepseek-v3", "gpt-5.5", "claude-sonnet-4-6"]),
    ],
)
def test_the_article_profile_has_the_chains_of_the_article(tier: TaskTier, chain: list[str]) -> None:
    assert ids(plan(ARTICLE, tier)) == chain


@pytest.mark.parametrize("tier", TaskTier)
@pytest.mark.parametrize("profile", ["current", "article"])
def test_the_embedded_model_does_not_stand_in_for_configured_models(profile: str, tier: TaskTier) -> None:
    assert "local" not in ids(plan(Registry.load(profile), tier))


UNCONFIGURED = {"anthropic": "no ANTHROPIC_API_KEY", "openai": "no OPENAI_API_KEY", "deepseek": "no DEEPSEEK_API_KEY"}


@pytest.mark.parametrize("tier", TaskTier)
@pytest.mark.parametrize("profile", ["current", "article"])
def test_the_embedded_model_closes_the_chain_if_nothing_else_is_configured(profile: str, tier: TaskTier) -> None:
    assert ids(plan(Registry.load(profile), tier, missing=UNCONFIGURED)) == ["local"]


def test_the_embedded_model_closes_the_chain_if_the_request_asks_for_little_or_names_it_as_the_last_resort() -> None:
    assert ids(plan(ARTICLE, TaskTier.COMPLEX, quality=0.0))[-1] == "local"
    assert ids(plan(ARTICLE, TaskTier.COMPLEX, last_resort="local"))[-1] == "local"
    assert ids(plan(ARTICLE, TaskTier.COMPLEX, model="gpt-5.5", last_resort="local"))[-1] == "local"
    assert ids(plan(ARTICLE, TaskTier.BULK, last_resort="claude-opus-4-7"))[-1] == "claude-opus-4-7"


def test_a_named_model_without_a_key_leaves_no_candidate() -> None:
    assert not plan(ARTICLE, model="gpt-5.5", missing=UNCONFIGURED).candidates


def test_a_named_model_over_the_cap_is_replaced_by_its_own_fallbacks_only() -> None:
    models = registry(model("named", price="10/50"), model("other", price="1/5"))
    assert ids(plan(models, left="0.01")) == ["other"]
    assert not plan(models, left="0.01", model="named").candidates


def test_a_configured_model_that_serves_no_such_tier_answers_before_the_embedded_one() -> None:
    models = Registry(
        models=[*ARTICLE, model("own", provider="own", tiers=(TaskTier.BULK,))],
        providers=[*ARTICLE.providers.values(), ProviderSpec(name="own")],
        baseline_id="claude-opus-4-7",
    )
    assert ids(plan(models, TaskTier.COMPLEX, missing=UNCONFIGURED)) == ["own"]


def test_a_missing_key_is_in_the_plan_with_its_reason() -> None:
    made = plan(ARTICLE, TaskTier.COMPLEX, missing={"anthropic": "no ANTHROPIC_API_KEY"})
    assert ids(made) == ["gpt-5.5"]
    assert [(skipped.model.id, skipped.reason) for skipped in made.skipped] == [
        ("claude-opus-4-7", "no ANTHROPIC_API_KEY"),
        ("claude-sonnet-4-6", "no ANTHROPIC_API_KEY"),
    ]


@pytest.mark.parametrize("options", [{}, {"quality": 0.0}, {"quality": 1.0}, {"worth_usd": Decimal("0.05")}])
@pytest.mark.parametrize("tier", TaskTier)
@pytest.mark.parametrize("keys", ["anthropic openai", "anthropic deepseek", "openai deepseek", "anthropic", "deepseek"])
def test_models_without_a_key_change_no_other_choice(keys: str, tier: TaskTier, options: dict[str, Any]) -> None:
    """The plan leads with the model that would lead if the registry had the usable models alone."""
    current = Registry.load("current")
    missing = {provider: reason for provider, reason in UNCONFIGURED.items() if provider not in keys}
    usable = [replaced(spec, fallback_id=None) for spec in current if spec.provider not in missing]
    alone = Registry(models=usable, providers=list(current.providers.values()), baseline_id=usable[0].id)
    best = max(current, key=lambda spec: spec.capability[tier])
    if best.provider in missing and "worth_usd" not in options:
        options = {"quality": 0.0}  # a share of the best model's quality means more than of the best usable one's
    assert ids(plan(current, tier, missing=missing, **options))[0] == ids(plan(alone, tier, **options))[0]


def test_price_times_tokens_decides_rather_than_price() -> None:
    wordy = model("wordy", price="1/5", token_ratio=1.6)
    terse = model("terse", price="1.2/6", token_ratio=1.0)
    assert ids(plan(registry(wordy, terse)))[0] == "terse"


def test_the_prompt_decides_which_is_cheapest() -> None:
    reader, writer = model("reader", price="0.1/10"), model("writer", price="1/1")
    assert ids(plan(registry(reader, writer), prompt="short"))[0] == "writer"
    assert ids(plan(registry(reader, writer), prompt="long " * 4_000))[0] == "reader"


def test_a_named_model_leads_and_keeps_its_fallbacks() -> None:
    made = plan(ARTICLE, TaskTier.BULK, model="claude-sonnet-4-6")
    assert ids(made) == ["claude-sonnet-4-6", "gpt-5.5"]
    assert made.candidates[0].why == "asked for by name"
    assert ids(plan(ARTICLE, TaskTier.COMPLEX, model="local")) == ["local"]
    with pytest.raises(RequestError, match="no model 'gpt-1': the registry has claude-opus-4-7"):
        plan(ARTICLE, model="gpt-1")


def test_low_expected_and_worst_costs_are_in_order() -> None:
    for candidate in plan(ARTICLE, TaskTier.COMPLEX).candidates:
        assert candidate.low_usd <= candidate.expected_usd <= candidate.worst_usd
        assert candidate.input_tokens <= candidate.input_tokens_bound


def test_the_expected_cost_near_a_cap_is_within_it() -> None:
    lowered = plan(registry(model("only", price="10/50")), TaskTier.COMPLEX, left="0.02")
    (only,) = lowered.candidates
    assert only.expected_usd == only.worst_usd <= Decimal("0.02")


def test_near_the_cap_the_output_is_lowered_then_the_model_is_skipped() -> None:
    models = registry(model("strong", price="10/50", fallback_id="cheap"), model("cheap", price="1/5"))
    only_dear = replaced(models["strong"], tiers=(TaskTier.COMPLEX,))
    models = registry(only_dear, replaced(models["cheap"], tiers=()))
    free = plan(models, TaskTier.COMPLEX)
    assert [entry.max_output_tokens for entry in free.candidates] == [1_000, 1_000]
    lowered = plan(models, TaskTier.COMPLEX, left="0.03")
    strong, cheap = lowered.candidates
    assert MIN_OUTPUT_TOKENS <= strong.max_output_tokens < 1_000
    assert strong.low_usd <= strong.expected_usd <= strong.worst_usd <= Decimal("0.03")
    assert cheap.max_output_tokens == 1_000
    tight = plan(models, TaskTier.COMPLEX, left="0.01")
    assert ids(tight) == ["cheap"]
    assert tight.skipped[0].reason.startswith("over budget: up to $0.051")
    assert not plan(models, TaskTier.COMPLEX, left="0.0001").candidates


def test_the_minimum_output_is_at_most_the_requested_limit() -> None:
    made = plan(registry(model("strong", price="10/50")), left="0.003", max_output_tokens=10)
    assert made.candidates[0].max_output_tokens == 10


def test_a_cap_never_refuses_a_free_model() -> None:
    assert ids(plan(ARTICLE, TaskTier.COMPLEX, left="0", last_resort="local")) == ["local"]


def test_a_model_with_a_small_window_is_skipped() -> None:
    models = registry(model("small", context_window=500, fallback_id="large"), model("large", price="2/10"))
    made = plan(models, prompt="word " * 1_000)
    assert ids(made) == ["large"]
    assert made.skipped[0].reason == "context too small: about 1,009 tokens for a window of 500"


def test_the_output_limit_fits_into_the_rest_of_the_window() -> None:
    made = plan(registry(model("small", context_window=1_500, max_output_tokens=1_000)), prompt="word " * 1_000)
    assert made.candidates[0].max_output_tokens < 500


def test_a_cooling_model_is_skipped_unless_it_is_the_only_one() -> None:
    models = registry(model("first", fallback_id="second"), model("second", price="2/10"))
    made = plan(models, cooling={"first": 12.0})
    assert ids(made) == ["second"]
    assert made.skipped[0].reason == "cooling down after failures, 12 s left"
    assert ids(plan(models, cooling={"first": 12.0, "second": 3.0})) == ["first", "second"]


def test_a_model_with_an_unknown_price_is_skipped() -> None:
    models = registry(model("known", fallback_id="mystery"), replaced(model("mystery"), price=None))
    made = plan(models)
    assert ids(made) == ["known"]
    assert "no price is known for 'mystery'" in made.skipped[0].reason


def test_a_free_endpoint_of_unknown_capability_does_not_take_the_bulk_prompts_of_hosted_models(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text(
        '[models."llama3.2"]\nbase_url = "http://localhost:11434/v1"\ntiers = ["BULK"]\n'
        "price = { input = 0, output = 0 }\n"
    )
    models = Registry.load("current", user_file=path)
    assert ids(plan(models, TaskTier.BULK))[0] != "llama3.2"
    alone = plan(models, TaskTier.BULK, missing=UNCONFIGURED).candidates[0]
    assert alone.model.id == "llama3.2"
    assert "its capability is not known: assumed for 8 billion parameters" in alone.why
