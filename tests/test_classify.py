"""The classifier's first form: the plain cases, abstention, and bounded work on anything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_magic import TaskTier
from llm_magic.classify import ABSTAIN_BELOW, classify

PLAIN = {
    TaskTier.COMPLEX: [
        "Prove that there are infinitely many primes.",
        "Design a distributed rate limiter for a multi-tenant API and discuss its trade-offs.",
        "Write a Python function that merges overlapping intervals, with tests.",
        "Refactor this class so that it is thread-safe:\n```python\nclass Counter:\n    pass\n```",
        "Derive the closed form of the integral \\int_0^1 x^n \\sqrt{1-x} dx and find its asymptotic behaviour.",
    ],
    TaskTier.STANDARD: [
        "Explain how photosynthesis works to a curious teenager.",
        "Write a short email to my landlord about the broken heater.",
        "Suggest three names for a cat and say why each fits.",
        "Describe the pros and cons of working from home.",
    ],
    TaskTier.STRUCTURED: [
        "Extract the name and the date as JSON: Bob came on 3 May.",
        'Return a JSON object with the keys "title" and "year" for the film Alien.',
        "Convert this table to CSV: a | b | c",
        "List the planets as a Markdown table with the columns name and radius.",
    ],
    TaskTier.BULK: [
        "Classify the sentiment of this review as positive or negative: I loved it.",
        "Translate to French: good morning",
        "What is the capital of France?",
        "Summarize in one sentence: the cat sat on the mat and slept all day.",
        "Say hello",
    ],
}


@pytest.mark.parametrize(("tier", "prompt"), [(tier, prompt) for tier, prompts in PLAIN.items() for prompt in prompts])
def test_plain_cases(tier: TaskTier, prompt: str) -> None:
    found = classify(prompt)
    assert found.tier is tier, found
    assert found.reasons


def test_it_abstains_upward_and_says_so() -> None:
    found = classify("hmm")
    assert found.tier is TaskTier.STANDARD
    assert found.confidence < ABSTAIN_BELOW
    assert any("took the harder, STANDARD" in reason for reason in found.reasons)


@given(st.text(max_size=5_000))
def test_anything_is_classified_the_same_way_twice(text: str) -> None:
    found = classify(text)
    assert found == classify(text)
    assert 0 < found.confidence <= 1
    assert found.reasons


def test_only_the_ends_of_a_long_text_are_read() -> None:
    filler = "lorem ipsum " * 400_000
    assert classify(f"Classify the sentiment of this text: {filler}").tier is TaskTier.BULK
    assert classify(f'{filler}\nReturn the result as JSON with the keys "a" and "b".').tier is TaskTier.STRUCTURED


@pytest.mark.parametrize(
    "text", ["(" * 50_000, "<a " * 50_000, "write a " * 50_000, "extract the " * 50_000, " " * 200_000]
)
def test_no_pattern_runs_away(text: str) -> None:
    classify(text)
