"""Concern 1: the tier and the difficulty of a prompt. MODEL_CARD.md has the method and the figures."""

from __future__ import annotations

from llm_magic.classify.classifier import Classifier, LinearClassifier, features_of
from llm_magic.classify.quality import expected_quality

__all__ = ["Classifier", "LinearClassifier", "classify", "expected_quality", "features_of"]

classify = LinearClassifier().classify
