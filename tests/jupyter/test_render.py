"""The state of a run, folded from its events, and its rendering as HTML, Markdown and text."""

from __future__ import annotations

import dataclasses
import re
from decimal import Decimal

import pytest

from llm_magic import AuthFailed, Overloaded
from llm_magic.events import AttemptStarted, Note, NoteKind, Progress, TextDelta, Waiting
from llm_magic.jupyter.render import bundles, facts, html
from llm_magic.jupyter.render.run_state import RunState
from llm_magic.testing import Failure, Reply
from llm_magic.types import Plan
from tests.support.builders import router
from tests.support.display import Time, events_of, state_after


def bundle_of(state: RunState) -> bundles.Bundle:
    return bundles.runs({"": state})


def text_of(state: RunState) -> str:
    return bundle_of(state)["text/plain"]


def head_of(state: RunState) -> str:
    return html.run_foot(facts.run_facts(state))


def plan_html(plan: Plan) -> str:
    return bundles.plan(plan)["text/html"]


def test_the_state_describes_what_the_run_is_doing() -> None:
    time = Time()
    state = RunState(monotonic=time)
    assert state.phase() == "planning"
    events = events_of(Reply())
    state.apply(events[0])
    state.apply(Waiting(reason="queued: cloud is at its concurrency limit"))
    time.now = 3.2
    assert state.phase() == "queued: cloud is at its concurrency limit, 3 s"
    started = next(event for event in events if isinstance(event, AttemptStarted))
    state.apply(started)
    assert state.phase() == "waiting for the first token from cheap"
    state.apply(Progress(message="loading the local model", fraction=0.42))
    assert state.phase() == "loading the local model 42%"
    state.apply(Progress(message="loaded", done=True))
    assert state.phase() == "loaded"
    state.apply(TextDelta(text="x"))
    time.now = 5.0
    assert state.phase() == "answering, 1 s"
    state.apply(Waiting(reason="cheap: rate limited, trying again", seconds=7.0))
    time.now = 7.0
    assert state.phase() == "cheap: rate limited, trying again in 5 s"


def test_the_path_of_a_run_in_progress_and_of_a_finished_run() -> None:
    events = events_of(Failure(error=AuthFailed("bad key")), Reply())
    second = [index for index, event in enumerate(events) if isinstance(event, AttemptStarted)][1]
    state = state_after(events[: second + 1])
    assert [(step.model, step.outcome) for step in state.path()] == [
        ("cheap", "auth_failed"),
        ("strong", "running"),
    ]
    finished = state_after(events)
    assert [(step.model, step.outcome) for step in finished.path()] == [("cheap", "auth_failed"), ("strong", "ok")]


def test_html_markdown_and_text_contain_the_same_facts() -> None:
    bundle = bundle_of(state_after(events_of(Failure(error=AuthFailed("bad key")), Reply(chunks=("**Hi** <b>",)))))
    for kind in ("text/html", "text/markdown", "text/plain"):
        for fact in ("strong", "BULK", "you asked for this tier", "auth failed", "10 in, 5 out tokens", "of $5.00"):
            assert fact in bundle[kind], (kind, fact)
    assert "<strong>Hi</strong> &lt;b&gt;" in bundle["text/html"]
    assert "**Hi** <b>" in bundle["text/plain"]
    assert bundle["text/markdown"].startswith("```\n")


def test_the_session_meter_has_a_label_and_never_exceeds_its_maximum() -> None:
    state = state_after(events_of(Reply()))
    state.session_usd = Decimal("2.5")
    head = head_of(state)
    assert 'value="0.5" aria-label="50% of the cap"' in head
    state.session_usd = Decimal(7)
    assert 'value="1" aria-label="above the cap"></meter> above the cap<' in head_of(state)
    assert "100%" not in head_of(state)
    state.session_usd = Decimal(5)
    assert 'value="1" aria-label="100% of the cap"' in head_of(state)
    state.cap_usd = Decimal(0)
    assert 'value="1"' in head_of(state)
    state.cap_usd = None
    assert "<meter" not in head_of(state)


def test_notes_are_displayed_during_and_after_a_run() -> None:
    state = RunState()
    events = [
        *events_of(Reply())[:-1],
        Note(kind=NoteKind.EXTRA, message="history: 900 tokens, $0.0001 (2 exchanges, the 4 <oldest>)"),
    ]
    for event in events:
        state.apply(event)
    assert "(2 exchanges, the 4 &lt;oldest&gt;)" in head_of(state)
    assert "(2 exchanges, the 4 <oldest>)" in text_of(state)


def test_thinking_is_folded_away_apart_from_the_answer_and_sanitized() -> None:
    state = state_after(events_of(Reply()))
    state.apply(Progress(message="the model is thinking", done=True, reasoning="First *add*, ", is_summary=True))
    state.apply(Progress(message="the model is thinking", done=True, reasoning="then <script>x</script>."))
    shown = bundles.runs({"": state})
    start = shown["text/html"].index("<details><summary>Thinking</summary>")
    assert shown["text/html"].index("llmr-body") < start
    assert "First <em>add</em>" in shown["text/html"][start:]
    assert "<script>" not in shown["text/html"]
    assert "Thinking:\n  First *add*, then <script>x</script>." in shown["text/plain"]
    assert "Thinking" not in bundles.runs({"": state_after(events_of(Reply()))})["text/html"]


def test_long_thinking_is_cut_in_the_notebook() -> None:
    state = state_after(events_of(Reply()))
    state.apply(Progress(message="the model is thinking", done=True, reasoning="x" * 30_000))
    assert "(10,000 more characters)" in bundles.runs_text({"": state})


def test_the_thinking_of_a_broken_attempt_is_not_shown_with_the_next_one() -> None:
    state = RunState()
    state.apply(Progress(message="the model is thinking", done=True, reasoning="hmm"))
    state.apply(next(event for event in events_of(Reply()) if isinstance(event, AttemptStarted)))
    assert state.thoughts == []


def test_the_confidence_of_the_tier_is_displayed_as_a_percentage() -> None:
    assert "BULK: you asked for this tier" in head_of(state_after(events_of(Reply())))
    plan = router().plan("Translate to French: hello")
    for confidence, words in ((0.62, "62% sure: "), (0.996, "99% sure: "), (1.0, "")):
        classification = dataclasses.replace(plan.classification, confidence=confidence)
        assert f"BULK</span> {words}translation" in plan_html(dataclasses.replace(plan, classification=classification))


def test_errors_model_names_and_reasons_are_escaped() -> None:
    evil = "<img src=x onerror=alert(1)>"
    state = state_after(events_of(Failure(error=Overloaded(evil, retry_after_s=99)), Reply(served_model=evil)))
    assert "<img" not in bundle_of(state)["text/html"]
    assert "<img" not in plan_html(router().plan(f"Prove {evil}"))


def test_json_answers_are_displayed_as_code() -> None:
    reply = Reply(chunks=('{"a": "*x*"}',))
    state = state_after(events_of(reply, schema={"type": "object"}))
    page = re.sub("</?span[^>]*>", "", bundle_of(state)["text/html"]).replace("&quot;", '"')
    assert '<code>{"a": "*x*"}' in page


@pytest.mark.parametrize(
    ("amount", "baseline", "words"),
    [
        ("0.9", "1", "saved $0.900 against top (90%)"),
        ("-0.5", "1", "spent $0.500 more against top (50%)"),
        ("0", "0", "$0 against top"),
    ],
)
def test_savings_are_signed(amount: str, baseline: str, words: str) -> None:
    assert facts.savings(Decimal(amount), Decimal(baseline), "top") == words


def test_a_truncated_answer_is_marked() -> None:
    assert "cut off at the output limit: allow more with --max-tokens" in text_of(
        state_after(events_of(Reply(finish_reason="length")))
    )


def test_an_answer_that_a_full_window_cut_off_recommends_no_higher_limit() -> None:
    text = text_of(state_after(events_of(Reply(finish_reason="model_context_window_exceeded"))))
    assert "cut off by its endpoint before the output limit" in text
    assert "context window was full" in text
    assert "--max-tokens" not in text
