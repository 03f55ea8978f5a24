"""The classification of a request: by its stated tier, by its conversation, or by the classifier."""

from __future__ import annotations

from typing import cast

from llm_magic import conversations
from llm_magic.classify import Classifier
from llm_magic.errors import RequestError
from llm_magic.types import Classification, Request, TaskTier


def classification_of(request: Request, classifier: Classifier) -> Classification:
    """Return the classification of a request. Raises RequestError if the classifier fails."""
    if request.tier is not None:
        return Classification(tier=request.tier, confidence=1.0, reasons=("you asked for this tier",))
    thread, text = request.thread, routing_text(request)
    if thread is not None and thread.tier is not None and conversations.follows_on(text):
        reasons = ("a short follow-up keeps the tier of the prompt before it",)
        return Classification(tier=thread.tier, confidence=thread.confidence, reasons=reasons)
    return _checked(classifier, text)


def routing_text(request: Request) -> str:
    return request.prompt if request.routing_text is None else request.routing_text


def _checked(classifier: Classifier, text: str) -> Classification:
    name = f"{type(classifier).__name__}.classify"
    try:
        result = cast("object", classifier.classify(text))
    except Exception as error:
        raise RequestError(f"{name} raised {type(error).__name__}: {error}") from error
    if not isinstance(result, Classification):
        raise RequestError(f"{name} must return a Classification, not {result!r}")
    if not isinstance(result.tier, TaskTier):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise RequestError(f"{name} returned tier = {result.tier!r}: it must be a TaskTier")
    if not 0 <= result.confidence <= 1:
        raise RequestError(f"{name} returned confidence = {result.confidence!r}: it must be from 0 to 1")
    return result
