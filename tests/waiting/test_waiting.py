"""Runs and columns that wait for the off-peak hours of a model."""

from __future__ import annotations

import asyncio
import dataclasses
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from llm_magic import InvalidOption, Ledger, Router
from llm_magic.events import Note, NoteKind, Planned, Postponed, RunEvent
from llm_magic.ledger import owners
from llm_magic.prices import cheapest_moment
from llm_magic.testing import FakeClock, ScriptedProvider
from llm_magic.types import Attachment, Image, ModelSpec, Request
from llm_magic.waiting import encoding
from llm_magic.waiting.off_peak import clock_time
from llm_magic.waiting.store import StoredJob, WaitingStore
from llm_magic.waiting.wait import Wait
from tests.support.builders import GOOD, model, registry

PEAK = datetime(2026, 11, 24, 2, tzinfo=UTC)
OFF_PEAK = datetime(2026, 11, 24, 4, tzinfo=UTC)
PEAKED = dataclasses.replace(model("deepseek-flash"), price=None, provider="deepseek", api_model="deepseek-flash")


def router(*models: ModelSpec, clock: FakeClock | None = None, ledger: Ledger | None = None) -> Router:
    time = clock or FakeClock(PEAK)
    specs = models or (PEAKED,)
    provider = ScriptedProvider([GOOD])
    return Router(
        registry=registry(*specs),
        providers=dict.fromkeys({spec.provider for spec in specs}, provider),
        ledger=ledger or Ledger(":memory:", clock=lambda: time.now().timestamp()),
        clock=time.clock(),
    )


def sent(ours: Router) -> list[datetime]:
    return [row.started_at for row in ours.ledger.rows()]


async def events(ours: Router, prompt: str = "hello", **given: object) -> list[RunEvent]:
    return [event async for event in ours.stream(prompt, when="cheap", **given)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("now", "then"),
    [
        (datetime(2026, 11, 24, 2, 10, tzinfo=UTC), OFF_PEAK),
        (datetime(2026, 11, 24, 9, 59, tzinfo=UTC), datetime(2026, 11, 24, 10, tzinfo=UTC)),
        (datetime(2026, 11, 24, 4, tzinfo=UTC), None),
        (datetime(2026, 11, 28, 2, tzinfo=UTC), None),
    ],
    ids=["morning peak", "afternoon peak", "off-peak", "weekend in Beijing"],
)
def test_the_cheapest_moment_is_the_start_of_the_next_off_peak_hours(now: datetime, then: datetime | None) -> None:
    assert cheapest_moment(PEAKED, now) == then


def test_a_model_with_a_stated_or_unknown_price_has_no_cheapest_moment() -> None:
    assert cheapest_moment(model("stated"), PEAK) is None
    assert cheapest_moment(dataclasses.replace(PEAKED, api_model="nothing-like-it"), PEAK) is None


async def test_a_run_waits_until_off_peak_and_is_sent_at_the_lower_price() -> None:
    ours = router()
    seen = await events(ours)
    assert isinstance(seen[0], Postponed)
    off_peak = seen[0].off_peak
    assert off_peak.until == OFF_PEAK
    assert off_peak.now_usd is not None
    assert off_peak.then_usd * 2 == off_peak.now_usd
    assert sent(ours) == [OFF_PEAK]
    note = next(event for event in seen if isinstance(event, Note) and event.kind is NoteKind.POSTPONED)
    assert "sent after" in note.message
    planned = next(event for event in seen if isinstance(event, Planned))
    assert planned.plan.expected_usd == off_peak.then_usd


@pytest.mark.parametrize(
    ("models", "now"),
    [((model("stated"),), PEAK), ((PEAKED,), OFF_PEAK), ((PEAKED, model("cheaper", price="0.01/0.02")), PEAK)],
    ids=["no peak prices", "off-peak already", "another model is cheaper at any hour"],
)
async def test_a_run_is_sent_at_once_if_waiting_does_not_pay(models: tuple[ModelSpec, ...], now: datetime) -> None:
    ours = router(*models, clock=FakeClock(now))
    result = await ours.route("hello", tier="bulk", when="cheap")
    assert sent(ours) == [now]
    assert result.notes[0] == "not postponed: no lower price is expected within a day"


async def test_without_when_nothing_waits() -> None:
    ours = router()
    await ours.route("hello")
    assert sent(ours) == [PEAK]


def test_a_wrong_value_is_rejected_with_the_choices() -> None:
    with pytest.raises(InvalidOption, match="one of now, cheap"):
        router().request("hello", when="later")


async def test_a_column_waits_until_off_peak_with_a_plan_at_the_prices_of_then() -> None:
    ours = router()
    at_peak = ours.plan_map("Topic of {{value}}?", over=["a", "b"]).row.expected_usd
    column = await ours.map("Topic of {{value}}?", over=["a", "b"], when="cheap", pilot=0)
    assert set(sent(ours)) == {OFF_PEAK}
    assert column.plan_before is not None
    assert 2 * column.plan_before.row.expected_usd == at_peak
    assert column.progress.waiting == ""


class StoppedClock(FakeClock):
    """A clock on which waits do not end by themselves."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(30)


async def started(ours: Router, wait: Wait, prompt: str = "hello") -> tuple[asyncio.Task[None], list[RunEvent]]:
    seen: list[RunEvent] = []

    async def follow() -> None:
        async for event in ours.job(prompt, wait, when="cheap").aitems():
            seen.append(event)

    task = asyncio.create_task(follow())
    while wait.off_peak is None or not seen:
        await asyncio.sleep(0.001)
    return task, seen


def stored(ledger: Ledger) -> int:
    with sqlite3.connect(ledger.location) as db:
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
        if "llm_magic_waiting" not in tables:
            return 0
        return db.execute("SELECT count(*) FROM llm_magic_waiting").fetchone()[0]


def mentions(folder: Path, text: bytes) -> bool:
    return any(text in file.read_bytes() for file in folder.glob("ledger.db*"))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(str(tmp_path / "ledger.db"), clock=PEAK.timestamp)


async def test_send_now_ends_the_wait_and_deletes_the_stored_prompt(ledger: Ledger, tmp_path: Path) -> None:
    ours, wait = router(clock=StoppedClock(PEAK), ledger=ledger), Wait(("answer",))
    task, seen = await started(ours, wait, "the secret word is xylophone")
    assert stored(ledger) == 1
    assert isinstance(seen[0], Postponed)
    assert seen[0].is_stored
    wait.send_now()
    await asyncio.wait_for(task, 10)
    assert sent(ours) == [PEAK]
    assert stored(ledger) == 0
    assert not mentions(tmp_path, b"xylophone")


async def test_cancel_deletes_the_stored_prompt_and_sends_nothing(ledger: Ledger) -> None:
    ours, wait = router(clock=StoppedClock(PEAK), ledger=ledger), Wait(())
    task, _ = await started(ours, wait)
    wait.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)
    assert stored(ledger) == 0
    assert sent(ours) == []


async def test_the_end_of_a_process_leaves_the_job_to_the_next_one(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, wait = router(clock=StoppedClock(PEAK), ledger=ledger), Wait(("answer",))
    task, _ = await started(ours, wait)
    task.cancel()  # as at the end of a kernel: not canceled by the user
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stored(ledger) == 1
    assert ours.waiting.store.adopt() == [], "its process still runs"
    other = owners.process_name(1)

    def process_name(pid: int) -> str:
        del pid
        return other

    def is_dead(now: float) -> Callable[[str, float], bool]:
        del now
        return lambda owner, lease_until: lease_until > 0 and owner != other

    monkeypatch.setattr(owners, "process_name", process_name)
    monkeypatch.setattr(owners, "is_dead", is_dead)
    (job,) = ours.waiting.store.adopt()
    assert (job.kind, job.names) == ("run", ("answer",))
    assert encoding.from_json(job.content).prompt == "hello"
    assert ours.waiting.store.adopt() == []


async def test_an_equal_job_replaces_the_one_that_waits(ledger: Ledger) -> None:
    ours, first, second = router(clock=StoppedClock(PEAK), ledger=ledger), Wait(()), Wait(())
    task, _ = await started(ours, first)
    other, _ = await started(ours, second)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)
    assert stored(ledger) == 1
    second.send_now()
    await asyncio.wait_for(other, 10)
    assert stored(ledger) == 0
    assert len(sent(ours)) == 1


async def test_a_run_of_a_script_is_not_stored(ledger: Ledger) -> None:
    ours, wait = router(clock=StoppedClock(PEAK), ledger=ledger), Wait()
    task, seen = await started(ours, wait)
    assert stored(ledger) == 0
    assert isinstance(seen[0], Postponed)
    assert not seen[0].is_stored
    wait.send_now()
    await asyncio.wait_for(task, 10)


def test_a_lease_is_renewed_while_a_job_waits(ledger: Ledger) -> None:
    moment = [PEAK.timestamp()]
    ledger.clock = lambda: moment[0]
    store = WaitingStore(ledger)
    job_id = store.put(StoredJob(kind="run", content="{}"))
    moment[0] += timedelta(hours=1).total_seconds()
    store.renew(job_id)
    with sqlite3.connect(ledger.location) as db:
        (lease,) = db.execute("SELECT lease_until FROM llm_magic_waiting").fetchone()
    assert lease > moment[0]


def test_requests_survive_as_text() -> None:
    ours = router()
    request: Request = ours.request(
        "é {{x}}", schema={"type": "object", "properties": {"a": {"type": "integer"}}}, max_cost="0.05", tags=["a"],
        effort="low", tier="bulk", system="be brief", when="cheap",
    )  # fmt: skip
    image = Attachment(name="i.png", image=Image(data=b"\x89PNG\xff\x00", media_type="image/png", width=1, height=2))
    request = dataclasses.replace(request, attachments=(image, Attachment(name="t", text="text")))
    assert encoding.from_json(encoding.to_json(request)) == request


async def test_the_rows_of_a_stored_column_have_the_keys_of_the_original(ledger: Ledger) -> None:
    ours = router(clock=StoppedClock(PEAK), ledger=ledger)
    texts = ["a", "b", "a"]
    column = ours.map("Topic of {{value}}?", over=texts, when="cheap", max_cost="0.5")
    column.wait_for_price.names = ()
    column.start()
    while column.wait_for_price.off_peak is None:
        await asyncio.sleep(0.001)
    assert column.progress.waiting.startswith(f"waiting until {clock_time(OFF_PEAK)} for")
    with sqlite3.connect(ledger.location) as db:
        (content,) = db.execute("SELECT content FROM llm_magic_waiting").fetchone()
    column.cancel()
    again = router(clock=FakeClock(OFF_PEAK), ledger=ledger)
    restored = again.restored_column(content)
    assert restored.max_cost_usd == column.max_cost_usd
    await restored
    assert len(sent(again)) == 2
    frame = (await again.map("Topic of {{value}}?", over=texts)).frame
    assert len(frame) == 3
    assert len(sent(again)) == 2, "the answers were kept"
