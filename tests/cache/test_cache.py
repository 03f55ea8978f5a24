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
from llm_magic.home import hash_key, home
from llm_magic.providers.base import ProviderEvent, ProviderRequest
from llm_magic.testing import Failure, Reply, ScriptedProvider
from llm_magic.types import Request
from tests.support import builders
from tests.support.builders import model, replaced, scripted, table_names
from tests.support.fuzzing import examples

KEPT = CachedAnswer(
    text="An answer.", model="cheap", provider="cloud", served_model="cheap-1", tier=TaskTier.BULK, confidence=0.5,
    reasons=("a", "b"), baseline_usd=Decimal("0.25"), baseline_model="strong",
)  # fmt: skip


def test_a_repeated_request_is_answered_at_no_cost_with_a_row() -> None:
    router = builders.router()
    first = router.route_sync("hello", tier="bulk", cache=True)
    again = router.route_sync("hello", tier="bulk", cache=True)
    assert len(scripted(router).requests) == 1
    assert (again.text, again.model, again.tier, again.reasons) == (first.text, first.model, first.tier, first.reasons)
    assert not first.cached
    assert again.cached
    assert again.cost_usd == 0 < first.cost_usd
    assert again.savings_usd == again.baseline_usd == first.baseline_usd
    assert [(step.model, step.outcome) for step in again.path] == [("cheap", "cached")]
    assert [row.outcome for row in router.ledger.rows()] == ["ok", "cached"]
    assert again.attempts == (router.ledger.rows()[1],)
    assert again.session_cost_usd == router.ledger.spent_usd == first.cost_usd
    router.ledger.rate(again.run_id, 1)
    assert router.ledger.rows()[1].rating == 1


def test_without_the_option_the_cache_is_neither_read_nor_written() -> None:
    router = builders.router()
    router.route_sync("hello")
    assert router.cache.count_and_bytes() == (0, 0)
    router.route_sync("hello", cache=True)
    router.route_sync("hello")
    assert len(scripted(router).requests) == 3


def test_an_answer_with_a_check_is_not_cached() -> None:
    router = builders.router()
    for _ in range(2):
        assert not router.route_sync("hello", cache=True, check=lambda text: True).cached
    assert router.cache.count_and_bytes() == (0, 0)


def test_a_cached_answer_is_streamed_as_one_delta() -> None:
    router = builders.router()
    router.route_sync("hello", cache=True)
    events = list(router.stream_sync("hello", cache=True))
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
def test_an_option_that_changes_the_answer_changes_the_key(changed: dict[str, Any]) -> None:
    router = builders.router(replies=[Reply(chunks=("{}",))])
    router.route_sync("hello", cache=True)
    assert not router.route_sync("hello", cache=True, **changed).cached
    assert router.route_sync("hello", cache=True, **changed).cached


def test_an_option_without_effect_on_the_answer_keeps_the_key() -> None:
    router = builders.router()
    router.route_sync("hello", cache=True)
    assert router.route_sync("hello", cache=True, tags=("x",), hedge_s=2.0, parent_run_id="run").cached
    assert router.ledger.rows()[-1].parent_run_id == "run"


@settings(max_examples=examples(40))
@given(st.text(min_size=1), st.text(min_size=1))
def test_two_prompts_share_a_key_only_if_they_are_the_same(one: str, other: str) -> None:
    keys = {caching.key(Request(prompt=text), [model("m")]) for text in (one, other)}
    assert len(keys) == len({one, other})


def test_the_key_depends_on_models_version_and_hash_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
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


def test_the_key_depends_on_usable_models_only() -> None:
    router = builders.router(
        model("strong", provider="cloud"), model("cheap", provider="other"),
        providers={"cloud": ScriptedProvider(), "other": ScriptedProvider(unavailable="no key")},
    )  # fmt: skip
    router.route_sync("hello", cache=True)
    router.providers["other"].unavailable_reason = None  # type: ignore[attr-defined]
    assert not router.route_sync("hello", cache=True).cached


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
def test_a_failed_refused_or_cut_off_answer_is_not_cached(reply: Reply | Failure) -> None:
    router = builders.router(model("only"), replies=[reply])
    with suppress(LLMMagicError):
        router.route_sync("hello", cache=True)
    assert router.cache.count_and_bytes() == (0, 0)


def test_a_canceled_answer_is_not_cached() -> None:
    class Stuck(ScriptedProvider):
        async def stream(self, request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
            yield TextDelta(text="half")
            await asyncio.Event().wait()

    router = builders.router(providers={"cloud": Stuck()})
    events = router.stream_sync("hello", cache=True)
    while not isinstance(next(events), TextDelta):
        pass
    events.close()  # type: ignore[attr-defined]
    assert router.ledger.rows()[0].outcome == "cancelled"
    assert router.cache.count_and_bytes() == (0, 0)


def test_a_cached_answer_is_returned_although_a_cap_is_reached() -> None:
    router = builders.router()
    router.route_sync("hello", cache=True)
    router.set_budget(0)
    assert router.route_sync("hello", cache=True).cached


def test_cached_json_is_parsed_again_and_sent_again_if_it_does_not_fit_the_schema() -> None:
    router = builders.router(replies=[Reply(chunks=('{"n": 1}',))])
    asked: dict[str, Any] = {"schema": {"type": "object"}, "cache": True}
    router.route_sync("hello", **asked)
    assert router.route_sync("hello", **asked).data == {"n": 1}
    with router.ledger.transactions.reading() as db:
        (stored,) = db.exec_driver_sql("SELECT key FROM llm_magic_cache").scalars()
    router.cache.put(stored, replaced(KEPT, text="no JSON"))
    assert not router.route_sync("hello", **asked).cached


def test_an_answer_that_can_not_be_cached_is_returned_with_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    from llm_magic import LedgerError

    def full(*_: object) -> None:
        raise LedgerError("the disk is full")

    router = builders.router()
    monkeypatch.setattr(router.cache, "put", full)
    result = router.route_sync("hello", cache=True)
    assert result.text == "A scripted answer."
    assert result.notes == ("not saved in the cache: the disk is full",)


def test_a_cached_answer_survives_each_kind_of_database(location: str) -> None:
    ledger = Ledger(location)
    assert AnswerCache(ledger).get("k") is None
    AnswerCache(ledger).put("k", replaced(KEPT, text="old"))
    AnswerCache(ledger).put("k", KEPT)
    assert AnswerCache(ledger).get("k") == KEPT
    assert AnswerCache(ledger).count_and_bytes() == (1, len(KEPT.text))
    assert AnswerCache(ledger).purge() == 1
    assert AnswerCache(ledger).get("k") is None
    ledger.close()


@pytest.mark.parametrize("text", ["a\x00b", "half of a pair: \ud83d", "\x01json:1"])
def test_an_answer_of_any_characters_is_cached_and_continues_a_thread(location: str, text: str) -> None:
    ours = builders.router(replies=[Reply(chunks=(text,))], ledger=Ledger(location))
    answers = [ours.route_sync("Say it.", cache=True).text for _ in range(2)]
    answers += [ours.route_sync(f"Say it {number}.", thread="odd").text for number in range(2)]
    assert answers == [text] * 4
    assert len(builders.scripted(ours).requests) == 3
    assert text in [message.content for message in builders.scripted(ours).requests[-1].messages]


def test_the_least_recently_used_answers_are_evicted(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    time = iter(range(100))
    ledger = Ledger(location, clock=lambda: float(next(time)))
    monkeypatch.setattr(keeping, "MAX_ANSWERS", 3)
    for key in "abc":
        AnswerCache(ledger).put(key, KEPT)
    assert AnswerCache(ledger).get("a") is not None
    AnswerCache(ledger).put("d", KEPT)
    assert [key for key in "abcd" if AnswerCache(ledger).get(key)] == ["a", "c", "d"]
    ledger.close()


def test_the_size_of_the_cache_is_bounded(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_no_file_contains_purged_text_or_prompts(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    router = builders.router(replies=[Reply(chunks=("SECRET-ANSWER",))], ledger=ledger)

    def on_disk() -> bytes:
        return b"".join(path.read_bytes() for path in tmp_path.glob("ledger.db*"))

    router.route_sync("SECRET-PROMPT", cache=True)
    assert b"SECRET-ANSWER" in on_disk()
    assert b"SECRET-PROMPT" not in on_disk()
    assert hash_key() not in on_disk()
    AnswerCache(ledger).purge()
    assert b"SECRET-ANSWER" not in on_disk()
    ledger.close()
    assert b"SECRET-ANSWER" not in on_disk()


def test_kernels_that_create_the_hash_key_at_once_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def created_meanwhile(length: int) -> bytes:
        home().mkdir(exist_ok=True)
        (home() / "hash.key").write_bytes(b"other kernel")
        return b"x" * length

    monkeypatch.setattr("secrets.token_bytes", created_meanwhile)
    assert hash_key() == hash_key() == b"other kernel"
    assert [path.name for path in home().iterdir() if path.name.startswith("tmp")] == []


def test_the_hash_key_is_stored_on_file_systems_without_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_link(source: str, target: Path) -> None:
        raise PermissionError("links are not supported")

    monkeypatch.setattr("os.link", no_link)
    assert hash_key() == hash_key()
    assert len(hash_key()) == 32


def test_the_hash_key_is_private_and_temporary_if_it_can_not_be_stored(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hash_key() == hash_key()
    assert (clean_environment / "hash.key").stat().st_mode & 0o077 == 0
    blocked = clean_environment / "other"
    (blocked / "hash.key").mkdir(parents=True)
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
