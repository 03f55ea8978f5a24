"""Run All does not pay twice: what is answered from the cache, what never is, and what it keeps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_magic import Ledger, LLMMagicError, Refused, TaskTier
from llm_magic import cache as caching
from llm_magic.cache import store as keeping
from llm_magic.cache.store import AnswerCache, CachedAnswer
from llm_magic.events import TextDelta
from llm_magic.home import hash_key
from llm_magic.providers.base import ProviderEvent, ProviderRequest
from llm_magic.testing import Failure, Reply, ScriptedProvider
from llm_magic.types import Request
from tests.support.builders import model, replaced, router, scripted, table_names
from tests.support.fuzzing import examples

KEPT = CachedAnswer(
    text="An answer.", model="cheap", provider="cloud", served_model="cheap-1", tier=TaskTier.BULK, confidence=0.5,
    reasons=("a", "b"), baseline_usd=Decimal("0.25"), baseline_model="strong",
)  # fmt: skip


def test_the_second_time_costs_nothing_and_says_so() -> None:
    ours = router()
    first = ours.route_sync("hello", tier="bulk", cache=True)
    again = ours.route_sync("hello", tier="bulk", cache=True)
    assert len(scripted(ours).requests) == 1
    assert (again.text, again.model, again.tier, again.reasons) == (first.text, first.model, first.tier, first.reasons)
    assert not first.cached
    assert again.cached
    assert again.cost_usd == 0 < first.cost_usd
    assert again.savings_usd == again.baseline_usd == first.baseline_usd
    assert [(step.model, step.outcome) for step in again.path] == [("cheap", "cached")]
    assert [row.outcome for row in ours.ledger.rows()] == ["ok", "cached"]
    assert again.attempts == (ours.ledger.rows()[1],)
    assert again.session_cost_usd == ours.ledger.spent_usd == first.cost_usd
    ours.ledger.rate(again.run_id, 1)
    assert ours.ledger.rows()[1].rating == 1


def test_without_asking_nothing_is_kept_and_nothing_is_taken() -> None:
    ours = router()
    ours.route_sync("hello")
    assert ours.cache.count_and_bytes() == (0, 0)
    ours.route_sync("hello", cache=True)
    ours.route_sync("hello")
    assert len(scripted(ours).requests) == 3


def test_what_a_function_has_checked_is_not_kept() -> None:
    ours = router()
    for _ in range(2):
        assert not ours.route_sync("hello", cache=True, check=lambda text: True).cached
    assert ours.cache.count_and_bytes() == (0, 0)


def test_its_text_comes_as_an_event() -> None:
    ours = router()
    ours.route_sync("hello", cache=True)
    events = list(ours.stream_sync("hello", cache=True))
    assert [type(event).__name__ for event in events] == ["Planned", "TextDelta", "RunEnded"]
    assert isinstance(events[1], TextDelta)
    assert events[1].text == "A scripted answer."


@pytest.mark.parametrize(
    "changed",
    [
        {"system": "be kind"}, {"tier": "complex"}, {"model": "strong"}, {"max_output_tokens": 7}, {"max_cost": 1},
        {"schema": {"type": "object"}}, {"routing_text": "prove it"},
    ],
)  # fmt: skip
def test_whatever_changes_the_answer_is_asked_anew(changed: dict[str, Any]) -> None:
    ours = router(replies=[Reply(chunks=("{}",))])
    ours.route_sync("hello", cache=True)
    assert not ours.route_sync("hello", cache=True, **changed).cached
    assert ours.route_sync("hello", cache=True, **changed).cached


def test_what_does_not_change_it_is_not() -> None:
    ours = router()
    ours.route_sync("hello", cache=True)
    assert ours.route_sync("hello", cache=True, tags=("x",), hedge_s=2.0, parent_run_id="run").cached
    assert ours.ledger.rows()[-1].parent_run_id == "run"


@settings(max_examples=examples(40))
@given(st.text(min_size=1), st.text(min_size=1))
def test_two_prompts_share_a_key_only_if_they_are_the_same(one: str, other: str) -> None:
    keys = {caching.key(Request(prompt=text), [model("m")]) for text in (one, other)}
    assert len(keys) == len({one, other})


def test_another_model_set_another_version_and_another_key_are_another_question(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    request = Request(prompt="hello")
    keys = {
        caching.key(request, [model("m")]),
        caching.key(request, [model("m", price="1/6")]),
        caching.key(request, [model("m", params={"seed": 1})]),
        caching.key(request, [model("m"), model("n")]),
        caching.key(replaced(request, prompt="hell", system="o"), [model("m")]),
    }
    monkeypatch.setattr(caching, "version", lambda _: "99")
    keys.add(caching.key(request, [model("m")]))
    monkeypatch.setenv("LLM_MAGIC_HOME", str(tmp_path / "another"))
    keys.add(caching.key(request, [model("m")]))
    assert len(keys) == 7


def test_a_model_that_can_not_be_used_is_not_of_the_set() -> None:
    ours = router(
        model("strong", provider="cloud"), model("cheap", provider="other"),
        providers={"cloud": ScriptedProvider(), "other": ScriptedProvider(unavailable="no key")},
    )  # fmt: skip
    ours.route_sync("hello", cache=True)
    ours.providers["other"].unavailable_reason = None  # type: ignore[attr-defined]
    assert not ours.route_sync("hello", cache=True).cached


@pytest.mark.parametrize(
    "reply",
    [
        Failure(error=Refused("no")),
        Reply(finish_reason="refusal"),
        Reply(finish_reason=None),
        Reply(chunks=("",)),
        Reply(finish_reason="length"),
        Reply(finish_reason="tool_use"),
    ],
)
def test_a_failed_refused_or_cut_off_answer_is_never_kept(reply: Reply | Failure) -> None:
    ours = router(model("only"), replies=[reply])
    with suppress(LLMMagicError):
        ours.route_sync("hello", cache=True)
    assert ours.cache.count_and_bytes() == (0, 0)


def test_a_cancelled_answer_is_never_kept() -> None:
    class Stuck(ScriptedProvider):
        async def stream(self, request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
            yield TextDelta(text="half")
            await asyncio.Event().wait()

    ours = router(providers={"cloud": Stuck()})
    events = ours.stream_sync("hello", cache=True)
    while not isinstance(next(events), TextDelta):
        pass
    events.close()  # type: ignore[attr-defined]
    assert ours.ledger.rows()[0].outcome == "cancelled"
    assert ours.cache.count_and_bytes() == (0, 0)


def test_a_cap_that_is_reached_refuses_no_answer_that_is_there() -> None:
    ours = router()
    ours.route_sync("hello", cache=True)
    ours.set_budget(0)
    assert ours.route_sync("hello", cache=True).cached


def test_json_is_parsed_again_and_what_no_longer_fits_is_asked_anew() -> None:
    ours = router(replies=[Reply(chunks=('{"n": 1}',))])
    asked: dict[str, Any] = {"schema": {"type": "object"}, "cache": True}
    ours.route_sync("hello", **asked)
    assert ours.route_sync("hello", **asked).data == {"n": 1}
    with ours.ledger.transactions.reading() as db:
        (stored,) = db.exec_driver_sql("SELECT key FROM llm_magic_cache").scalars()
    ours.cache.put(stored, replaced(KEPT, text="no JSON"))
    assert not ours.route_sync("hello", **asked).cached


def test_an_answer_that_can_not_be_kept_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    from llm_magic import LedgerError

    def full(*_: object) -> None:
        raise LedgerError("the disk is full")

    ours = router()
    monkeypatch.setattr(ours.cache, "put", full)
    result = ours.route_sync("hello", cache=True)
    assert result.text == "A scripted answer."
    assert result.notes == ("not saved in the cache: the disk is full",)


def test_it_comes_back_as_it_was_in_each_kind_of_database(location: str) -> None:
    ledger = Ledger(location)
    assert AnswerCache(ledger).get("k") is None
    AnswerCache(ledger).put("k", replaced(KEPT, text="old"))
    AnswerCache(ledger).put("k", KEPT)
    assert AnswerCache(ledger).get("k") == KEPT
    assert AnswerCache(ledger).count_and_bytes() == (1, len(KEPT.text))
    assert AnswerCache(ledger).purge() == 1
    assert AnswerCache(ledger).get("k") is None
    ledger.close()


def test_what_was_used_least_recently_makes_room(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    time = iter(range(100))
    ledger = Ledger(location, clock=lambda: float(next(time)))
    monkeypatch.setattr(keeping, "MAX_ANSWERS", 3)
    for key in "abc":
        AnswerCache(ledger).put(key, KEPT)
    assert AnswerCache(ledger).get("a") is not None
    AnswerCache(ledger).put("d", KEPT)
    assert [key for key in "abcd" if AnswerCache(ledger).get(key)] == ["a", "c", "d"]
    ledger.close()


def test_the_bytes_are_bounded(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    time = iter(range(100))
    ledger = Ledger(location, clock=lambda: float(next(time)))
    monkeypatch.setattr(keeping, "MAX_BYTES", 25)
    AnswerCache(ledger).put("long", replaced(KEPT, text="xyz"))
    assert AnswerCache(ledger).count_and_bytes() == (0, 0), "longer than a tenth of the whole"
    for number in range(20):
        AnswerCache(ledger).put(str(number), replaced(KEPT, text="é"))
    assert AnswerCache(ledger).count_and_bytes() == (12, 24)
    assert AnswerCache(ledger).get("7") is None
    assert AnswerCache(ledger).get("8") is not None
    ledger.close()


def test_purged_text_and_prompts_are_in_no_file(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    ours = router(replies=[Reply(chunks=("SECRET-ANSWER",))], ledger=ledger)

    def on_disk() -> bytes:
        return b"".join(path.read_bytes() for path in tmp_path.glob("ledger.db*"))

    ours.route_sync("SECRET-PROMPT", cache=True)
    assert b"SECRET-ANSWER" in on_disk()
    assert b"SECRET-PROMPT" not in on_disk()
    assert hash_key() not in on_disk()
    AnswerCache(ledger).purge()
    assert b"SECRET-ANSWER" not in on_disk()
    ledger.close()
    assert b"SECRET-ANSWER" not in on_disk()


def test_the_hash_key_is_kept_private_and_made_up_where_it_can_not_be(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hash_key() == hash_key()
    assert (clean_environment / "hash.key").stat().st_mode & 0o077 == 0
    blocked = clean_environment / "hash.key" / "below a file"
    monkeypatch.setenv("LLM_MAGIC_HOME", str(blocked))
    assert len(hash_key()) == 32


def test_the_table_of_answers_is_created_at_the_first_write(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = Ledger(path)
    assert AnswerCache(ledger).count_and_bytes() == (0, 0)
    assert "llm_magic_cache" not in table_names(path)
    AnswerCache(ledger).put("k", KEPT)
    assert AnswerCache(ledger).get("k") == KEPT
    assert "llm_magic_cache" in table_names(path)
    ledger.close()
    ledger = Ledger(path)
    assert AnswerCache(ledger).count_and_bytes() == (1, len(KEPT.text))
    ledger.close()
