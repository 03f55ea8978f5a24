"""Lengths that other kernels have written to the same ledger."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from llm_magic import Ledger, Registry, TaskTier
from llm_magic.plan.lengths import Kind
from llm_magic.tuning.lengths import REFRESH_S, LearnedLengths
from llm_magic.types import Effort, Outcome, Usage
from llm_magic.types.outcomes import ENDED_ANSWERS
from tests.support.builders import NOON, attempt

KIND = Kind(tier=TaskTier.BULK, shares={TaskTier.BULK: 1.0})


class Clock:
    def __init__(self) -> None:
        self.moment = NOON

    def __call__(self) -> float:
        return self.moment.timestamp()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def opened(path: Path, clock: Clock) -> Ledger:
    return Ledger(path / "ledger.db", clock=clock)


def write(ledger: Ledger, numbers: range, output_tokens: int, outcome: Outcome = Outcome.OK) -> None:
    for number in numbers:
        usage = Usage(input_tokens=20, output_tokens=output_tokens)
        row = attempt(run_id=f"run{number}", model="gpt-6-luna", effort=Effort.NONE, usage=usage, outcome=outcome)
        ledger.record(row)


def expected(lengths: LearnedLengths, registry: Registry) -> float:
    return lengths.expected_tokens(registry["gpt-6-luna"], Effort.NONE, KIND)


def test_answers_of_another_kernel_count_without_a_restart(tmp_path: Path, clock: Clock) -> None:
    registry = Registry.load("current")
    own, other = opened(tmp_path, clock), opened(tmp_path, clock)
    lengths = LearnedLengths(own, registry)
    write(own, range(10), 20)
    before = expected(lengths, registry)
    write(other, range(10, 60), 900)
    assert expected(lengths, registry) == before, "not read at every plan"
    clock.moment += timedelta(seconds=REFRESH_S)
    assert expected(lengths, registry) > 5 * before


def test_own_answers_that_were_observed_count_once(tmp_path: Path, clock: Clock) -> None:
    registry = Registry.load("current")
    ledger = opened(tmp_path, clock)
    lengths = LearnedLengths(ledger, registry)
    expected(lengths, registry)
    for row in [
        attempt(run_id=f"run{n}", model="gpt-6-luna", effort=Effort.NONE, usage=Usage(output_tokens=50))
        for n in range(5)
    ]:
        ledger.record(row)
        lengths.observe(row)
    before = expected(lengths, registry)
    clock.moment += timedelta(seconds=REFRESH_S)
    assert expected(lengths, registry) == before


def test_only_rows_after_the_known_ones_are_read(tmp_path: Path, clock: Clock) -> None:
    ledger = opened(tmp_path, clock)
    write(ledger, range(20), 30)
    rows = ledger.latest_lengths(ENDED_ANSWERS)
    assert [row.run_id for row in rows] == [f"run{number}" for number in range(20)]
    assert [row.run_id for row in ledger.latest_lengths(ENDED_ANSWERS, after_id=rows[-3].row_id)] == ["run18", "run19"]


def test_a_row_that_was_in_flight_when_later_ones_were_read_counts_too(tmp_path: Path, clock: Clock) -> None:
    registry = Registry.load("current")
    own, other = opened(tmp_path, clock), opened(tmp_path, clock)
    lengths = LearnedLengths(own, registry)
    usage = Usage(output_tokens=5_000)
    slow = [
        attempt(run_id=f"slow{n}", model="gpt-6-luna", effort=Effort.NONE, outcome=Outcome.IN_FLIGHT) for n in range(20)
    ]
    holds = [other.hold(row, row.cost_usd, ()) for row in slow]
    write(other, range(5), 20)
    before = expected(lengths, registry)
    for row, hold in zip(slow, holds, strict=True):
        with hold:
            hold.settle(attempt(run_id=row.run_id, model="gpt-6-luna", effort=Effort.NONE, usage=usage))
    clock.moment += timedelta(seconds=REFRESH_S)
    assert expected(lengths, registry) > 5 * before
