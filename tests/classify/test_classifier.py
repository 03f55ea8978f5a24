"""The Classifier protocol and the shipped classifier behind it."""

from __future__ import annotations

import dataclasses

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
