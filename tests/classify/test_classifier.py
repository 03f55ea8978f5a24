"""The Classifier protocol and the shipped classifier behind it."""

from __future__ import annotations

import dataclasses

import pytest

from llm_magic.classify import Classifier, LinearClassifier, classify
from llm_magic.classify.heads import shipped_heads
from llm_magic.types import Classification, TaskTier


def test_the_shipped_classifier_satisfies_the_protocol_and_is_the_default() -> None:
    classifier: Classifier = LinearClassifier()
    assert classifier.classify("Say hello") == classify("Say hello")


def test_a_classifier_uses_the_heads_that_it_is_given() -> None:
    heads = shipped_heads()
    prompt = "Explain how photosynthesis works."
    halved = LinearClassifier(dataclasses.replace(heads, difficulty={"": heads.difficulty[""].times(0.5)}))
    assert abs(halved.classify(prompt).difficulty - classify(prompt).difficulty / 2) <= 1e-3


def test_any_object_with_a_classify_method_is_a_classifier() -> None:
    class AlwaysBulk:
        def classify(self, text: str) -> Classification:
            return Classification(tier=TaskTier.BULK, confidence=1.0, reasons=(f"{len(text)} characters",))

    classifier: Classifier = AlwaysBulk()
    assert classifier.classify("hello").tier is TaskTier.BULK


@pytest.mark.parametrize("text", ["what is 2+2", "2+2?", "What's 17 * 23?", "calculate (3.5 - 1) / 2", " 12 x 12 = "])
def test_one_arithmetic_expression_is_bulk(text: str) -> None:
    classification = classify(text)
    assert (classification.tier, classification.reasons) == (TaskTier.BULK, ("one arithmetic expression",))
    assert sum(classification.probabilities.values()) == pytest.approx(1)


@pytest.mark.parametrize("text", ["42", "what is 17", "1. 2. 3.", "2024-11-27", "what is a+b", "prove 2+2=4", "-"])
def test_other_short_texts_are_not_arithmetic(text: str) -> None:
    assert classify(text).reasons != ("one arithmetic expression",)
