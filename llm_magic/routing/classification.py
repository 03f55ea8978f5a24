"""The classification of a request, and the changes that the rules of `models.toml` make to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, cast

from llm_magic import conversations, tokens
from llm_magic.attachments import user_message
from llm_magic.classify import Classifier
from llm_magic.classify.features import window
from llm_magic.errors import RequestError
from llm_magic.registry.rules import Rule, Then, When
from llm_magic.types import Candidate, Classification, Plan, Request, TaskTier


def apply_rules(request: Request, rules: Iterable[Rule], classifier: Classifier) -> tuple[Request, Classification]:
    """Return the request as the first matching rule changes it, and its classification.

    No rule changes a request that states a tier or a model, or a stated quality. Raises RequestError if the
    classifier fails.
    """
    if request.rule:  # planned before
        return request, _with_rule(request, _classify(request, classifier))
    classification = _classify(request, classifier)
    rule = next((rule for rule in rules if _matches(rule.when, request, classification)), None)
    changes = {} if rule is None else _changes(request, rule.then)
    if rule is None or not changes:
        return request, classification
    request = dataclasses.replace(request, rule=f"{rule.name}: {rule.when}", **changes)
    return request, _with_rule(request, classification)


def explain_rule(plan: Plan) -> Plan:
    request = plan.request
    if not request.rule or request.model is None:
        return plan
    ranked = (
        dataclasses.replace(entry, why=request.rule)
        if isinstance(entry, Candidate) and entry.model.id == request.model
        else entry
        for entry in plan.ranked
    )
    return dataclasses.replace(plan, ranked=tuple(ranked))


def _changes(request: Request, then: Then) -> dict[str, Any]:
    if request.tier is not None or request.model is not None:
        return {}
    changes = {field.name: getattr(then, field.name) for field in dataclasses.fields(then)}
    if request.is_quality_stated:
        del changes["quality"]
    return {name: value for name, value in changes.items() if value is not None}


def _matches(when: When, request: Request, classification: Classification) -> bool:
    if when.tag is not None and when.tag not in request.tags:
        return False
    if when.tier is not None and when.tier is not classification.tier:
        return False
    if when.regex is not None and when.regex.search(window(_routing_text(request))) is None:
        return False
    if when.min_tokens is None and when.max_tokens is None:
        return True
    count = tokens.count_o200k(user_message(request).content)
    return (when.min_tokens or 0) <= count and (when.max_tokens is None or count <= when.max_tokens)


def _with_rule(request: Request, classification: Classification) -> Classification:
    if request.tier is not None:
        return Classification(tier=request.tier, confidence=1.0, reasons=(request.rule,))
    return dataclasses.replace(classification, reasons=(*classification.reasons, request.rule))


def _classify(request: Request, classifier: Classifier) -> Classification:
    if request.tier is not None:
        return Classification(tier=request.tier, confidence=1.0, reasons=("you asked for this tier",))
    thread, text = request.thread, _routing_text(request)
    if thread is not None and thread.tier is not None and conversations.follows_on(text):
        reasons = ("a short follow-up keeps the tier of the prompt before it",)
        return Classification(tier=thread.tier, confidence=thread.confidence, reasons=reasons)
    return _checked(classifier, text)


def _routing_text(request: Request) -> str:
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
