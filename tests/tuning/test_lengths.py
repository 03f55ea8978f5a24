"""Lengths of answers, learned from the ledger: expected costs, output limits, and the baseline's reasoning."""

from __future__ import annotations

import dataclasses
import random
import statistics
from decimal import Decimal

import pytest

from llm_magic import Ledger, Registry, Router, Usage
from llm_magic.providers.base import ProviderRequest
from llm_magic.testing import Reply, ScriptedProvider

PROMPT = "Explain how a hash map works."


class Thinker:
    """Reasons for a log-normal number of tokens, then answers at a stated length."""

    def __init__(self, *, mean_reasoning: float, answer: int, seed: int = 0) -> None:
        self.random = random.Random(seed)  # noqa: S311
        self.mean_reasoning, self.answer = mean_reasoning, answer

    def __call__(self, request: ProviderRequest) -> Reply:
        sigma = 0.5
        reasoning = round(self.mean_reasoning * self.random.lognormvariate(-(sigma**2) / 2, sigma))
        answer = max(1, round(self.random.gauss(self.answer, self.answer / 10)))
        usage = Usage(input_tokens=20, output_tokens=reasoning + answer, reasoning_tokens=reasoning)
        return Reply(chunks=("word " * 40,), usage=usage)


def routing(thinker: Thinker, ledger: Ledger | None = None) -> Router:
    registry = Registry.load("current")
    providers = dict.fromkeys(("anthropic", "openai", "deepseek"), ScriptedProvider(thinker))
    return Router(registry=registry, ledger=ledger or Ledger(":memory:"), providers=providers)


async def run_many(router: Router, count: int, **options: str) -> list[Decimal]:
    return [(await router.route(PROMPT, **options)).cost_usd for _ in range(count)]  # type: ignore[arg-type]


@pytest.mark.parametrize("factor", [1 / 3, 1.0, 3.0])
async def test_after_30_runs_the_expected_cost_is_within_20_percent_of_the_mean_bill(factor: float) -> None:
    router = routing(Thinker(mean_reasoning=2_000 * 1.61 * factor, answer=round(900 * 1.61 * factor)))
    options = {"model": "claude-opus-5-5", "tier": "COMPLEX", "effort": "medium"}
    billed = await run_many(router, 30, **options)
    expected = router.plan(PROMPT, **options).candidates[0].expected_usd
    assert float(expected) == pytest.approx(statistics.fmean(map(float, billed)), rel=0.2)


async def test_a_new_kernel_knows_what_the_ledger_has_measured() -> None:
    router = routing(Thinker(mean_reasoning=100, answer=50))
    await run_many(router, 30, model="gpt-6-luna", effort="high", tier="STANDARD")
    again = routing(Thinker(mean_reasoning=100, answer=50), router.ledger)
    known, fresh = (
        other.plan(PROMPT, model="gpt-6-luna", effort="high", tier="STANDARD").candidates[0]
        for other in (router, again)
    )
    assert fresh.output_tokens == known.output_tokens < 250


async def test_the_newest_answers_count_most() -> None:
    thinker = Thinker(mean_reasoning=100, answer=100)
    router = routing(thinker)
    options = {"model": "gpt-6-luna", "effort": "low", "tier": "STANDARD"}
    await run_many(router, 60, **options)
    before = router.plan(PROMPT, **options).candidates[0].output_tokens
    thinker.mean_reasoning = 1_000
    await run_many(router, 60, **options)
    after = router.plan(PROMPT, **options).candidates[0].output_tokens
    assert before < 260
    assert after > 800


async def test_one_endless_answer_does_not_spoil_the_mean() -> None:
    thinker = Thinker(mean_reasoning=100, answer=100)
    router = routing(thinker)
    options = {"model": "gpt-6-luna", "effort": "low", "tier": "STANDARD"}
    await run_many(router, 40, **options)
    thinker.mean_reasoning = 1e6
    await run_many(router, 1, **options)
    assert router.plan(PROMPT, **options).candidates[0].output_tokens < 400


async def test_the_reasoning_at_one_effort_adjusts_what_is_expected_of_the_others() -> None:
    router = routing(Thinker(mean_reasoning=2_700, answer=450))
    fresh = routing(Thinker(mean_reasoning=1, answer=1))
    await run_many(router, 20, model="gpt-6-luna", effort="medium", tier="STANDARD")
    high = {"model": "gpt-6-luna", "effort": "high", "tier": "STANDARD"}
    learned, assumed = (other.plan(PROMPT, **high).candidates[0].output_tokens for other in (router, fresh))
    assert learned > 1.7 * assumed, "it reasons three times as much as assumed"
    none = {"model": "gpt-6-luna", "effort": "none", "tier": "STANDARD"}
    learned, assumed = (other.plan(PROMPT, **none).candidates[0].output_tokens for other in (router, fresh))
    assert learned == pytest.approx(assumed, rel=0.2), "and answers are as long as assumed"


async def test_the_output_limit_is_three_times_the_longest_answers_of_a_kind() -> None:
    router = routing(Thinker(mean_reasoning=0, answer=200))
    options = {"model": "gpt-6-luna", "effort": "none", "tier": "BULK"}
    before = router.plan(PROMPT, **options).candidates[0]
    await run_many(router, 30, **options)
    after = router.plan(PROMPT, **options).candidates[0]
    assert before.max_output_tokens == 8_192
    assert 600 <= after.max_output_tokens <= 900
    assert after.worst_usd < before.worst_usd / 5
    stated = router.plan(PROMPT, model="gpt-6-luna", effort="none", tier="BULK", max_output_tokens=5_000)
    assert stated.candidates[0].max_output_tokens == 5_000


async def test_a_schema_is_a_kind_of_its_own() -> None:
    schema = {"type": "object", "properties": {"label": {"type": "string"}}, "required": ["label"]}
    registry = Registry.load("current")
    provider = ScriptedProvider(
        lambda request: Reply(
            chunks=('{"label": "a"}',) if request.schema else ("long " * 900,),
            usage=Usage(input_tokens=20, output_tokens=8 if request.schema else 900),
        )
    )
    router = Router(registry=registry, ledger=Ledger(":memory:"), providers={"openai": provider})
    for _ in range(25):
        await router.route(PROMPT, model="gpt-6-luna", effort="none", tier="STRUCTURED")
        await router.route(PROMPT, model="gpt-6-luna", effort="none", tier="STRUCTURED", schema=schema)
    plain = router.plan(PROMPT, model="gpt-6-luna", effort="none", tier="STRUCTURED").candidates[0]
    short = router.plan(PROMPT, model="gpt-6-luna", effort="none", tier="STRUCTURED", schema=schema).candidates[0]
    assert plain.max_output_tokens == 2_700
    assert short.max_output_tokens == 256
    assert short.output_tokens < 20


async def test_the_baseline_reasons_as_much_as_was_measured_of_it() -> None:
    router = routing(Thinker(mean_reasoning=3_000, answer=300))
    cold = await router.route(PROMPT, model="gpt-6-luna", effort="none", tier="BULK")
    opus = router.registry["claude-opus-5-5"]
    await run_many(router, 10, model=opus.id, tier="BULK", effort="medium")
    warm = await router.route(PROMPT, model="gpt-6-luna", effort="none", tier="BULK")
    measured = statistics.fmean(
        row.usage.reasoning_tokens for row in router.ledger.rows() if row.model == opus.id and row.effort
    )
    answer = warm.usage.output_tokens - warm.usage.reasoning_tokens
    without_input = float(warm.baseline_usd) - 4e-6 * round(20 * 1.61)
    assert without_input == pytest.approx(20e-6 * (1.61 * answer + measured), rel=0.1)
    ratio = 1.61 * cold.usage.output_tokens
    assert float(cold.baseline_usd) == pytest.approx(4e-6 * 20 * 1.61 + 20e-6 * ratio, rel=0.01)


async def test_old_rows_without_an_effort_count_for_the_default() -> None:
    router = routing(Thinker(mean_reasoning=100, answer=100))
    await run_many(router, 10, model="gpt-6-luna", effort="low", tier="STANDARD")
    old = Ledger(":memory:")
    for row in router.ledger.rows():
        old.record(dataclasses.replace(row, effort=None))
    again = routing(Thinker(mean_reasoning=1, answer=1), old)
    plans = (again.plan(PROMPT, model="gpt-6-luna", tier="STANDARD", effort=level) for level in ("medium", "high"))
    medium, high = (plan.candidates[0].output_tokens for plan in plans)
    assert medium < 350 < high
