"""Threads: what is sent along, what it costs, whose cache is warm, what follows on, and what is kept."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_magic import Ledger, LedgerError, Price, RequestError, Router, TaskTier, prices
from llm_magic.conversations import first_sent, follows_on
from llm_magic.conversations import store as keeping
from llm_magic.conversations.store import Conversations, Exchange
from llm_magic.providers.base import ProviderRequest
from llm_magic.testing import Failure, FakeClock, Reply, ScriptedProvider
from llm_magic.types import Message, Usage
from tests.support import builders
from tests.support.builders import NOON, model, registry, replaced, scripted, table_names
from tests.support.fuzzing import examples

TURN = Exchange(
    run_id="run", prompt="ask", answer="say", model="cheap", tier=TaskTier.BULK, confidence=0.5, input_tokens=7,
    at=NOON.timestamp(),
)  # fmt: skip


def sent(router: Router) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in scripted(router).requests[-1].messages]


def test_earlier_exchanges_are_sent_with_the_prompt() -> None:
    router = builders.router(replies=lambda request: Reply(chunks=(f"answer {len(request.messages)}",)))
    router.route_sync("one", thread="t")
    router.route_sync("two", thread="t")
    router.route_sync("aside", thread="other")
    router.route_sync("alone")
    assert sent(router) == [("user", "alone")]
    router.route_sync("three", thread="t")
    assert sent(router) == [
        ("user", "one"), ("assistant", "answer 1"), ("user", "two"), ("assistant", "answer 3"), ("user", "three"),
    ]  # fmt: skip
    assert [turn.prompt for turn in router.conversations.exchanges("t")] == ["one", "two", "three"]
    assert router.conversations.names() == ["t", "other"]


def test_a_given_history_is_sent_and_not_stored() -> None:
    router = builders.router()
    router.route_sync("and now?", history=[Message(role="user", content="a"), Message(role="assistant", content="b")])
    assert sent(router) == [("user", "a"), ("assistant", "b"), ("user", "and now?")]
    assert router.conversations.names() == []
    with pytest.raises(RequestError, match="a thread has its own history"):
        router.request("x", thread="t", history=[Message(role="user", content="a")])
    with pytest.raises(RequestError, match="the history has a NUL byte"):
        router.request("x", history=[Message(role="user", content="a\0")])


def test_a_thread_continues_in_another_session(tmp_path: Path) -> None:
    first = builders.router(ledger=Ledger(tmp_path / "ledger.db"))
    first.route_sync("one", thread="t")
    first.ledger.close()
    second = builders.router(ledger=Ledger(tmp_path / "ledger.db"))
    second.route_sync("two", thread="t")
    assert sent(second)[0] == ("user", "one")
    second.ledger.close()


def test_a_prompt_without_an_answer_is_not_stored() -> None:
    from llm_magic import Refused

    router = builders.router(replies=[Failure(error=Refused("no"))])
    with pytest.raises(Exception, match="refused"):
        router.route_sync("one", thread="t")
    assert router.conversations.exchanges("t") == []


def test_the_cost_of_the_history_is_in_the_plan_and_in_the_notes() -> None:
    router = builders.router()
    router.conversations.append("t", replaced(TURN, prompt="word " * 500, answer="word " * 500))
    plan = router.plan("go on with it at length please, and say more about the words", tier="bulk", thread="t")
    bare = router.plan("go on with it at length please, and say more about the words", tier="bulk")
    (part,) = plan.extras
    leader, alone = plan.candidates[0], bare.candidates[0]
    assert (part.name, part.tokens) == ("history", leader.input_tokens - alone.input_tokens)
    assert part.usd == leader.expected_usd - alone.expected_usd == part.tokens * Decimal("0.1") / 1_000_000
    assert leader.worst_usd > alone.worst_usd + part.usd, "the hold counts it, too"
    assert leader.input_tokens_bound > alone.input_tokens_bound + 5_000
    result = router.route_sync("go on", tier="bulk", thread="t")
    assert f"history: {part.tokens:,} tokens, $0.00010 (1 exchange)" in result.notes


@settings(max_examples=examples(40))
@given(st.lists(st.integers(0, 5_000), max_size=30), st.integers(100, 10_000))
def test_the_sent_history_stays_below_the_limit_and_its_beginning_changes_seldom(sizes: list[int], limit: int) -> None:
    starts = [first_sent(sizes[:end], limit) for end in range(len(sizes) + 1)]
    assert starts == sorted(starts)
    for end, start in enumerate(starts):
        assert sum(sizes[start:end]) <= limit
        if end and start > starts[end - 1]:
            assert sum(sizes[start:end]) <= limit / 2, "then half of it is free"


def test_the_oldest_exchanges_are_left_out_with_a_note() -> None:
    router = builders.router()
    for number in range(6):
        router.conversations.append("t", replaced(TURN, prompt=f"{number} " + "word " * 400, answer="word " * 400))
    result = router.route_sync("go on", thread="t", thread_tokens=2_000)
    assert len(sent(router)) == 5
    assert sent(router)[0][1].startswith("4 ")
    assert any(note.endswith("(2 exchanges, the 4 oldest left out)") for note in result.notes)
    router.conversations.append("u", replaced(TURN, prompt="word " * 30_000))
    result = router.route_sync("go on", thread="u")
    assert sent(router) == [("user", "go on")]
    assert result.notes[0] == "history: 0 tokens, $0 (0 exchanges, the 1 oldest left out)"


@pytest.mark.parametrize(
    ("text", "follows"),
    [
        ("yes, go on", True), ("Why?", True), ("shorter", True), ("OK. And in Rust?", True), ("the second one", True),
        ("no, that is wrong", True), ("Translate this to French", False), ("What is the capital of France?", False),
        ("Prove that there are infinitely many primes", False), ("Soprano", False),
        ("yes, and then prove that the sum of two even numbers is even", False),
    ],
)  # fmt: skip
def test_short_follow_ups_are_recognized(text: str, follows: bool) -> None:
    assert follows_on(text) is follows


def test_a_short_follow_up_keeps_the_tier() -> None:
    router = builders.router()
    assert router.plan("yes, go on").tier != TaskTier.COMPLEX
    router.conversations.append("t", replaced(TURN, tier=TaskTier.COMPLEX, confidence=0.75))
    plan = router.plan("yes, go on", thread="t")
    assert plan.classification.tier == TaskTier.COMPLEX
    assert plan.classification.confidence == 0.75
    assert plan.classification.reasons == ("a short follow-up keeps the tier of the prompt before it",)
    assert router.plan("Translate to French: good morning", thread="t").tier == TaskTier.BULK
    assert router.plan("yes, go on", thread="t", tier="structured").tier == TaskTier.STRUCTURED


def cached_price(given: str, cached: str, output: str) -> Price:
    return Price(input=Decimal(given), output=Decimal(output), cached_input=Decimal(cached))


HARD = replaced(
    model("hard", tiers=(TaskTier.COMPLEX,), fallback_id="easy"),
    price=cached_price("1", "0.1", "1"),
    context_window=1_000_000,
)
EASY = replaced(model("easy", tiers=(TaskTier.BULK,)), price=cached_price("0.5", "0.05", "1"), context_window=1_000_000)


@pytest.mark.parametrize(
    ("tokens", "age_s", "leader"),
    [
        (6_000, 10.0, "hard"),  # 0.1 x 6,000 cached beats 0.5 x 6,000 fresh
        (6_000, 301, "easy"),  # no longer kept
        (1_000, 10.0, "easy"),  # too short to be cached at all
        (2_000, 10.0, "easy"),  # of 6,000 only 2,000 are cached: the rest at 1.0 costs more than to change
    ],
)
def test_a_model_with_a_warm_cache_is_preferred_if_that_is_cheaper(tokens: int, age_s: float, leader: str) -> None:
    router = builders.router(HARD, EASY)
    at = (NOON - timedelta(seconds=age_s)).timestamp()
    text = "word " * 3_000
    turn = replaced(TURN, model="hard", input_tokens=tokens, prompt=text, answer=text, tier=TaskTier.COMPLEX, at=at)
    router.conversations.append("t", turn)
    plan = router.plan("Translate to French: good morning", tier="bulk", thread="t")
    first = plan.candidates[0]
    assert first.model.id == leader
    if leader == "hard":
        assert "its prompt cache is warm" in first.why
        assert "6,000 tokens of the prompt in hard's cache" in plan.extras[0].detail
        usage = Usage(input_tokens=first.input_tokens, cached_input_tokens=tokens, output_tokens=120)
        assert first.expected_usd == prices.cost(HARD, usage, NOON).usd


def test_a_warm_model_of_an_easier_tier_is_not_preferred() -> None:
    router = builders.router(HARD, EASY)
    turn = replaced(TURN, model="easy", input_tokens=6_000, prompt="word " * 3_000, answer="word " * 3_000)
    router.conversations.append("t", turn)
    assert router.plan("Prove it", tier="complex", thread="t").candidates[0].model.id == "hard"


def test_a_prompt_cache_is_cold_once_the_beginning_has_changed() -> None:
    router = builders.router(HARD, EASY)
    for _ in range(3):
        router.conversations.append("t", replaced(TURN, model="hard", input_tokens=2_000, prompt="word " * 1_000))
    assert router.request("x", thread="t").thread.warm_model == "hard"  # type: ignore[union-attr]
    cold = router.request("x", thread="t", thread_tokens=2_500).thread
    assert cold is not None
    assert (cold.warm_model, cold.dropped_exchanges) == (None, 2)


def test_the_answer_cache_depends_on_the_history_not_on_the_thread() -> None:
    router = builders.router()
    router.route_sync("one", thread="t", cache=True)
    router.route_sync("two", thread="t", cache=True)
    router.conversations.purge("t")
    again = [router.route_sync(text, thread="t", cache=True) for text in ("one", "two")]
    assert [result.cached for result in again] == [True, True]
    assert len(router.conversations.exchanges("t")) == 2
    assert not router.route_sync("two", thread="t", cache=True).cached


@pytest.mark.parametrize("name", ["", " ", "x" * 101, "a\nb", "\x1b[0m"])
def test_an_invalid_thread_name_is_an_error(name: str) -> None:
    with pytest.raises(RequestError, match=r"thread name .* must be 1 to 100 printable characters"):
        builders.router().request("x", thread=name)


def test_an_answer_whose_exchange_can_not_be_stored_is_returned_with_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise LedgerError("the disk is full")

    router = builders.router()
    monkeypatch.setattr(router.conversations, "append", full)
    assert router.route_sync("one", thread="t").notes[-1] == "not saved in the thread: the disk is full"


def test_an_exchange_survives_each_kind_of_database(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "MAX_EXCHANGES_PER_THREAD", 2)
    ledger = Ledger(location)
    assert Conversations(ledger).exchanges("t") == []
    for number in range(3):
        Conversations(ledger).append("t", replaced(TURN, prompt=f"é {number}"))
    Conversations(ledger).append("u", TURN)
    assert Conversations(ledger).exchanges("t") == [replaced(TURN, prompt=f"é {number}") for number in (1, 2)]
    assert Conversations(ledger).names() == ["u", "t"]
    assert Conversations(ledger).purge("t") == 2
    assert Conversations(ledger).names() == ["u"]
    assert Conversations(ledger).purge() == 1
    ledger.close()


def test_the_table_of_exchanges_is_created_at_the_first_write(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    assert Conversations(ledger).names() == []
    assert Conversations(ledger).exchanges("t") == []
    assert "llm_magic_turns" not in table_names(tmp_path / "ledger.db")
    Conversations(ledger).append("t", TURN)
    assert "llm_magic_turns" in table_names(tmp_path / "ledger.db")
    assert Conversations(ledger).exchanges("t") == [TURN]
    ledger.close()


def test_no_file_contains_a_purged_thread(tmp_path: Path) -> None:
    router = builders.router(ledger=Ledger(tmp_path / "ledger.db"))

    def on_disk() -> bytes:
        return b"".join(path.read_bytes() for path in tmp_path.glob("ledger.db*"))

    router.route_sync("SECRET-PROMPT", thread="t")
    assert b"SECRET-PROMPT" in on_disk()
    router.conversations.purge("t")
    assert b"SECRET-PROMPT" not in on_disk()
    router.ledger.close()


def test_a_provider_request_states_that_it_is_part_of_a_conversation() -> None:
    seen: list[ProviderRequest] = []
    provider = ScriptedProvider(lambda request: (seen.append(request), Reply())[1])
    router = Router(
        registry=registry(model("m")),
        providers={"cloud": provider},
        ledger=Ledger(":memory:"),
        clock=FakeClock().clock(),
    )
    router.route_sync("one")
    router.route_sync("one", thread="t")
    assert [request.in_conversation for request in seen] == [False, True]


def test_a_conversation_with_claude_requests_prompt_caching() -> None:
    from llm_magic.providers import anthropic

    asked: dict[str, Any] = {"model": model("m", api_model="m"), "max_output_tokens": 5}
    messages = (
        Message(role="user", content="a"),
        Message(role="assistant", content="b"),
        Message(role="user", content="c"),
    )
    body = anthropic.request_body(ProviderRequest(messages=messages, in_conversation=True, **asked))
    assert [message["content"] for message in body["messages"]] == [
        "a", "b", [{"type": "text", "text": "c", "cache_control": {"type": "ephemeral"}}],
    ]  # fmt: skip
    body = anthropic.request_body(ProviderRequest(messages=messages, **asked))
    assert body["messages"][-1]["content"] == "c"


def test_a_small_context_window_leaves_half_for_prompt_and_answer() -> None:
    router = builders.router(model("small", context_window=4_096))
    for _ in range(20):
        router.conversations.append("t", replaced(TURN, prompt="word " * 400))
    assert len(router.request("x", thread="t").history) // 2 * 400 <= 2_048
    assert router.route_sync("x", thread="t").text
