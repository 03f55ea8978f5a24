"""Circuits: which models are skipped and for how long, and the probe that closes a circuit."""

from __future__ import annotations

import asyncio

import pytest

from llm_magic import AllAttemptsFailed, Overloaded
from llm_magic.execute import RetryPolicy
from llm_magic.health import FAILURES_TO_OPEN, Health
from llm_magic.providers.base import ProviderRequest
from llm_magic.testing import Failure, FakeClock, Reply, ScriptedProvider
from tests.support import builders
from tests.support.builders import model

DOWN = Failure(error=Overloaded("x"))


def health(time: FakeClock) -> Health:
    return Health(monotonic=time.monotonic, cool_down_s=30)


def test_a_run_that_gives_up_opens_the_circuit_and_time_half_opens_it() -> None:
    time = FakeClock()
    router = health(time)
    assert str(router.circuit("m")) == "closed"
    router.failed("m", gave_up=True)
    assert str(router.circuit("m")) == "open, 30 s left"
    assert router.circuit("m").blocked_reason == "cooling down after failures, 30 s left"
    assert not router.acquire("m", "one")
    time.advance(30)
    assert str(router.circuit("m")) == "half-open"
    assert router.circuit("m").blocked_reason is None


def test_there_is_one_probe_at_a_time_and_its_failure_doubles_the_cool_down() -> None:
    time = FakeClock()
    router = health(time)
    router.failed("m", gave_up=True)
    for expected in (60, 120, 240, 480, 600, 600):
        time.advance(router.circuit("m").remaining_s)
        assert router.acquire("m", "one")
        assert not router.acquire("m", "other")
        assert router.circuit("m").blocked_reason == "another run is probing it after failures"
        router.failed("m", gave_up=False)
        assert router.circuit("m").remaining_s == expected


def test_a_probe_that_answers_closes_the_circuit_and_a_stopped_one_lets_the_next_try() -> None:
    time = FakeClock()
    router = health(time)
    router.failed("m", gave_up=True)
    time.advance(30)
    assert router.acquire("m", "one")
    router.release("m", "one")
    assert router.acquire("m", "other")
    router.succeeded("m")
    assert str(router.circuit("m")) == "closed"
    router.failed("m", gave_up=True)
    assert router.circuit("m").remaining_s == 30, "it was well in between"


def test_only_the_probe_ends_the_probing() -> None:
    time = FakeClock()
    router = health(time)
    assert router.acquire("m", "early")
    router.failed("m", gave_up=True)
    time.advance(30)
    assert router.acquire("m", "probe")
    assert not router.acquire("m", "last of its chain, so asked despite the open circuit")
    router.release("m", "last of its chain, so asked despite the open circuit")
    router.release("m", "early")
    assert not router.acquire("m", "next")
    router.release("m", "probe")
    assert router.acquire("m", "next")


def test_consecutive_failures_of_different_runs_open_the_circuit() -> None:
    router = health(FakeClock())
    for _ in range(FAILURES_TO_OPEN - 1):
        router.failed("m", gave_up=False)
    router.succeeded("m")
    for _ in range(FAILURES_TO_OPEN):
        assert str(router.circuit("m")) == "closed"
        router.failed("m", gave_up=False)
    assert router.circuit("m").state == "open"


def test_a_long_retry_after_extends_the_cool_down() -> None:
    router = health(FakeClock())
    router.failed("m", gave_up=True, at_least_s=120)
    assert router.circuit("m").remaining_s == 120


async def test_concurrent_runs_do_not_all_wait_for_a_model_that_is_down() -> None:
    down: list[str] = []

    def reply(request: ProviderRequest) -> Reply | Failure:
        if request.model.id == "cheap":
            down.append("asked")
            return DOWN
        return Reply()

    router = builders.router(replies=reply)
    results = await asyncio.gather(*[router.route("hello", tier="bulk") for _ in range(100)])
    assert {result.model for result in results} == {"strong"}
    assert len(down) < 3 * 100, "those who come later, or were waiting, see that it is down"
    assert router.circuit(router.registry["cheap"]).state == "open"


async def test_only_one_of_many_runs_probes_a_model_that_was_down() -> None:
    time = FakeClock()
    asked: list[str] = []
    healthy = False

    def reply(request: ProviderRequest) -> Reply | Failure:
        asked.append(request.model.id)
        return Reply() if healthy or request.model.id == "strong" else DOWN

    router = builders.router(replies=reply, clock=time)
    await router.route("hello", tier="bulk")
    time.advance(31)
    asked.clear()
    await asyncio.gather(*[router.route("hello", tier="bulk") for _ in range(20)])
    assert asked.count("cheap") == 1
    healthy = True
    time.advance(61)
    assert (await router.route("hello", tier="bulk")).model == "cheap"


async def test_the_only_model_is_asked_although_its_circuit_is_open() -> None:
    scripted = ScriptedProvider([DOWN, DOWN, DOWN, Reply()])
    router = builders.router(model("only"), providers={"cloud": scripted}, policy=RetryPolicy(tries=3))
    with pytest.raises(AllAttemptsFailed):
        await router.route("hello")
    assert router.circuit(router.registry["only"]).state == "open"
    assert (await router.route("hello")).text == "A scripted answer."
