"""The classifier: clear and uncertain prompts, stable features, and bounded work on any text."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_magic import TaskTier
from llm_magic.classify import classify, features_of, signals
from llm_magic.classify.classifier import COMPLEX_MISS_COST, MIN_FAMILIARITY
from llm_magic.classify.features import BUCKETS, FAMILIES, family_scales
from llm_magic.classify.heads import DIFFICULTY_SCALES, DifficultyHead, TierHead
from llm_magic.classify.pleasantries import strip_pleasantries
from llm_magic.classify.request import Request
from llm_magic.classify.text import canonical
from llm_magic.lab.prompts import own_prompts

PLAIN = {
    TaskTier.COMPLEX: [
        "Prove that there are infinitely many primes.",
        "Design a distributed rate limiter for a multi-tenant API and discuss its trade-offs.",
        "Our worker pool loses one task in ten thousand when it is canceled, and only under load. Why?",
        "Implement a lock-free ring buffer for several producers and argue that it is correct.",
        "Derive the closed form of the integral \\int_0^1 x^n \\sqrt{1-x} dx and find its asymptotic behaviour.",
    ],
    TaskTier.STANDARD: [
        "Write a Python function that merges overlapping intervals, with tests.",
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


ODD = (
    "",
    "?!",
    "\ud800 x",
    "x" * 5_000,
    "写一篇文章 为什么",
    "(i) i. statement 1 __ 000000001234567",
    "Which?\nA. 12\nB. 13 °\nC. $4^2$\nD. not half",
    'Weather in Bern, and then in Rome?\n[{"name": "get_weather", "description": "now", "type": "string"}]',
)
FEATURE_DIGEST = "095f5a50018834a7f34340103c2a7b475358b36bf7c627503a11636698e29f2a"


@pytest.mark.parametrize(("tier", "prompt"), [(tier, prompt) for tier, prompts in PLAIN.items() for prompt in prompts])
def test_unambiguous_prompts_get_their_tier(tier: TaskTier, prompt: str) -> None:
    result = classify(prompt)
    assert result.tier is tier, result
    assert result.reasons


def test_an_uncertain_prompt_gets_the_harder_tier_with_a_reason() -> None:
    result = classify("zorbl fnarg quix")
    assert result.tier is TaskTier.STANDARD
    assert any("chose the harder tier, STANDARD" in reason for reason in result.reasons)


def test_the_tier_is_the_most_expensive_one_to_miss() -> None:
    """The most likely tier, or COMPLEX if nearly as likely; for unfamiliar words, never the easier of two."""
    judged, went_up = own_prompts(held_out=True), 0
    for text in (*judged.prompts, "hmm", "zxqv wqrtz blorp", "Qwghlm vxyz?"):
        result = classify(text)
        first, second, *_ = sorted(TaskTier, key=lambda tier: -result.probabilities[tier])
        is_near = result.probabilities[TaskTier.COMPLEX] * COMPLEX_MISS_COST >= result.probabilities[first]
        wanted = [first, TaskTier.COMPLEX] if is_near else [first]
        if result.familiarity < MIN_FAMILIARITY:
            wanted.append(second)
        assert result.tier is min(wanted, key=list(TaskTier).index), text
        assert any("chose the harder tier" in reason for reason in result.reasons) == (result.tier is not first)
        assert result.confidence == pytest.approx(result.probabilities[result.tier], abs=1e-3)
        went_up += result.tier is not first
    assert 3 <= went_up <= len(judged.prompts) / 5


@given(st.text(max_size=5_000))
def test_classification_of_any_text_is_deterministic(text: str) -> None:
    result = classify(text)
    assert result == classify(text)
    assert 0 < result.confidence <= 1
    assert result.reasons


def test_only_the_ends_of_a_long_text_are_read() -> None:
    filler = "lorem ipsum " * 400_000
    assert classify(f"Classify the sentiment of this text: {filler}").tier is TaskTier.BULK
    assert classify(f'{filler}\nReturn the result as JSON with the keys "a" and "b".').tier is TaskTier.STRUCTURED


@pytest.mark.parametrize(
    "text", ["(" * 50_000, "<a " * 50_000, "write a " * 50_000, "extract the " * 50_000, " " * 200_000]
)
def test_no_pattern_backtracks_catastrophically(text: str) -> None:
    classify(text)


def test_classification_does_not_import_numpy() -> None:
    code = "import sys, llm_magic; llm_magic.Router().plan('Prove it.'); print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.lab
def test_searching_at_word_prefixes_finds_every_match() -> None:
    """Patterns are tried only at words that begin like their matches."""
    prompts = [*own_prompts().prompts, *(prompt for prompts in PLAIN.values() for prompt in prompts)]
    prompts += [" ".join(prompts[start : start + 8]) for start in range(len(prompts))]
    prompts += ["parameters: {}", "v2prove it, re-derive", "a\nvalid JSON"]
    for prompt in prompts:
        asked, length = canonical(prompt)
        head = asked if len(asked) <= 1_300 else f"{asked[:800]}\n{asked[-500:]}"
        wanted = [
            signal.reason.format(" ".join(match[0].split())[:40])
            for pattern, _, signal in signals.PATTERNS
            if (match := re.search(pattern, head))
        ]
        request = Request(
            whole=asked, asked=asked, context="", material={}, starts_with_material=False, sentences_asked=1, is_explicit=True
        )  # fmt: skip
        assert [signal.reason for signal in signals.detect_signals(request, length)][: len(wanted)] == wanted


@given(st.text(max_size=4_000))
def test_each_family_of_features_has_length_one(text: str) -> None:
    for part in features_of(text).families:
        buckets = [bucket for _, group in part for bucket in group]
        assert len(set(buckets)) == len(buckets)
        assert sum(amount**2 * len(group) for amount, group in part) == pytest.approx(1.0 if buckets else 0.0)


def test_features_are_the_same_on_every_machine() -> None:
    """If this changes, the weights must be trained again."""
    parts = dict(zip(FAMILIES, features_of("Add 12 and 345, and 12.").families, strict=True))
    rounded = {name: [(round(amount, 4), *group) for amount, group in parts[name]] for name in ("words", "pairs")}
    assert rounded == {
        "words": [(0.4082, 63667, 37052, 16817, 25614, 57301, 14415)],
        "pairs": [(0.378, 16330, 9873, 42109, 25181, 41476, 64695, 43362)],
    }


def test_no_feature_of_any_known_prompt_has_changed() -> None:
    """A hash over hundreds of prompts in many languages. If it changes, the weights must be trained again."""
    own = own_prompts(held_out=True).prompts
    prompts = [*own, *(prompt for prompts in PLAIN.values() for prompt in prompts), *ODD]
    prompts += [" ".join(own[start : start + 40]) for start in range(0, len(own), 20)]
    digest = hashlib.sha256()
    for prompt in prompts:
        for family in features_of(prompt).families:
            digest.update(repr([(round(value, 9), list(buckets)) for value, buckets in family]).encode())
    assert len(prompts) > 250
    assert digest.hexdigest() == FEATURE_DIGEST


@pytest.mark.parametrize(
    "text", ["Prove that 2 + 2 = 4, and that 4 = 2 + 2.", "".join(map(chr, range(0x4E00, 0x5800)))]
)
def test_a_head_sums_amounts_times_weights(text: str) -> None:
    weights = np.random.default_rng(0).normal(size=(BUCKETS, 4))
    weights -= weights.mean(axis=1, keepdims=True)
    bias = np.array([0.5, -0.5, 0.25, -0.25])
    tiers, difficulty = TierHead.quantize(weights, bias), DifficultyHead.quantize(weights[:, 0], 0.5)
    features = features_of(text)
    wanted = bias.copy()
    for part, scale in zip(features.families, DIFFICULTY_SCALES, strict=True):
        for amount, group in part:
            wanted += scale * amount * weights[list(group)].sum(axis=0)
    assert tiers.scores(features, DIFFICULTY_SCALES) == pytest.approx(list(wanted), abs=0.02)
    assert tiers.times(2.0).scores(features, DIFFICULTY_SCALES) == pytest.approx(list(2 * wanted), abs=0.04)
    assert difficulty.score(features, DIFFICULTY_SCALES) == pytest.approx(wanted[0], abs=1e-3)
    assert difficulty.times(2.0).score(features, DIFFICULTY_SCALES) == pytest.approx(2 * wanted[0], abs=2e-3)


def test_tiers_are_summed_without_carry_between_them() -> None:
    """The weights of several tiers are fields of one integer."""
    weights = np.tile([1.0, -1.0, -1.0, 1.0], (BUCKETS, 1))
    features = features_of("".join(map(chr, range(0x4E00, 0x5800))))
    count = len(features.word_buckets)
    assert count > 1_024
    scores = TierHead.quantize(weights, np.zeros(4)).scores(features, family_scales(words=1.0))
    assert scores == pytest.approx([count**0.5, -(count**0.5), -(count**0.5), count**0.5])


def test_a_head_scores_a_prompt_without_features_by_its_bias() -> None:
    head = DifficultyHead.quantize(np.ones(BUCKETS), 0.25)
    assert head.score(features_of(""), family_scales(words=1.0)) == 0.25
    assert head.score(features_of("word"), family_scales(words=1.0)) == pytest.approx(1.25)


@pytest.mark.parametrize(
    ("text", "request_alone"),
    [
        ("Good morning! I hope you're fine. Sort this list. Thank you very much in advance.", "Sort this list"),
        ("Could you please help me? Why is the sky blue?", "Why is the sky blue?"),
        ("URGENT, please: fix my code", "fix my code"),
        ("<system> high priority\nName a river. (It is very simple.)", "Name a river."),
        ("Bonjour, traduis ce mot, merci", "traduis ce mot"),
        ("Draw a cat\n--\nBo, sent from a train", "Draw a cat"),
        ("Write a poem.\n\nKind regards", "Write a poem."),
        # Where nothing else is there, or it is what is asked about, it stays.
        ("Hello!", "Hello!"),
        ("Hi, how are you? Thanks!", "how are you?"),
        ("Translate to French: thank you", "Translate to French: thank you"),
        ('Say it politely: "wait, please"', 'Say it politely: "wait, please"'),
        ("Which fits? A. a hope\nB. good", "Which fits? A. a hope\nB. good"),
        ("What is 7 + 2?", "What is 7 + 2?"),
        ("", ""),
        ("?!", "?!"),
    ],
)
def test_pleasantries_are_dropped_at_the_ends_only(text: str, request_alone: str) -> None:
    assert strip_pleasantries(text) == request_alone


@given(st.text(max_size=400), st.sampled_from(["Hi there! ", "Please help me with this.\n", "", "(a simple one) "]))
def test_the_rest_without_pleasantries_is_a_nonempty_part_of_the_text(text: str, before: str) -> None:
    stripped = strip_pleasantries(f"{before}{text}")
    assert stripped in f"{before}{text}"
    assert bool(stripped.strip()) == bool(f"{before}{text}".strip())
