"""The cache of answers: a repeated request is answered without being sent."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
from collections.abc import Iterable
from datetime import datetime
from importlib.metadata import version
from typing import Any

from llm_magic import answers
from llm_magic.budget import Budget
from llm_magic.cache.store import AnswerCache, CachedAnswer
from llm_magic.errors import InvalidAnswer
from llm_magic.home import hash_key
from llm_magic.ledger import Ledger
from llm_magic.types import ZERO, Attempt, ModelSpec, Outcome, Plan, Request, RouteResult, Schema, Step, Usage

_FIELDS_WITHOUT_EFFECT_ON_ANSWER = (
    "tags",
    "hedge_s",
    "cache",
    "parent_run_id",
    "thread",
    "is_quality_stated",
    "when",
    "shared_chars",
    "rule",
    "model_reason",
    "shadowing",
)


def key(request: Request, models: Iterable[ModelSpec]) -> str:
    """Hash everything that the answer depends on: the request, the available models, the version of llm_magic."""
    text = json.dumps(
        [version("llm-magic"), _effective_fields(request), [_fields(model) for model in models]],
        sort_keys=True,
        default=_plain,
    )
    return hmac.new(hash_key(), text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def digest_text(request: Request) -> str:
    """Return everything in the request that the answer depends on, as text to hash."""
    return json.dumps(_effective_fields(request), sort_keys=True, default=_plain)


def _effective_fields(request: Request) -> dict[str, Any]:
    return {name: value for name, value in _fields(request).items() if name not in _FIELDS_WITHOUT_EFFECT_ON_ANSWER}


def recall(
    plan: Plan, key: str, cache: AnswerCache, ledger: Ledger, budget: Budget, *, run_id: str, at: datetime
) -> RouteResult | None:
    """Return the cached answer as the result of a run that cost nothing, and record its row; None if there is none."""
    answer = cache.get(key)
    if answer is None:
        return None
    schema = plan.request.schema
    try:
        data = None if schema is None else answers.parse(answer.text, schema)
    except InvalidAnswer:
        return None
    row = _cached_row(answer, plan.request, ledger.session_id, run_id, at)
    ledger.record(row)
    return RouteResult(
        run_id=run_id,
        text=answer.text,
        data=data,
        model=answer.model,
        served_model=answer.served_model,
        tier=answer.tier,
        confidence=answer.confidence,
        reasons=answer.reasons,
        path=(Step(model=answer.model, outcome=Outcome.CACHED, detail="answered from the cache; nothing was sent"),),
        attempts=(row,),
        usage=Usage(),
        finish_reason="stop",
        cost_usd=ZERO,
        cost_estimated=False,
        session_cost_usd=ledger.spent_usd,
        cap_usd=budget.session_usd,
        baseline_usd=answer.baseline_usd,
        baseline_model=answer.baseline_model,
        comparable=answer.comparable,
        ttft_s=None,
        latency_s=0.0,
    )


def _cached_row(answer: CachedAnswer, request: Request, session_id: str, run_id: str, now: datetime) -> Attempt:
    return Attempt(
        run_id=run_id,
        attempt=1,
        started_at=now,
        tier=answer.tier,
        confidence=answer.confidence,
        provider=answer.provider,
        model=answer.model,
        served_model=answer.served_model,
        outcome=Outcome.CACHED,
        error=None,
        fallback_from=None,
        usage=Usage(),
        cost_usd=ZERO,
        cost_estimated=False,
        baseline_usd=answer.baseline_usd,
        comparable=answer.comparable,
        price_source="cache",
        ttft_s=None,
        latency_s=0.0,
        session_id=session_id,
        tags=request.tags,
        parent_run_id=request.parent_run_id,
    )


def keep(result: RouteResult, key: str, cache: AnswerCache) -> None:
    """Store an answer unless it was cut off. Raises LedgerError."""
    if result.finish_reason != "stop":
        return
    answer = CachedAnswer(
        text=result.text,
        model=result.model,
        provider=next(attempt.provider for attempt in result.attempts if attempt.outcome == Outcome.OK),
        served_model=result.served_model,
        tier=result.tier,
        confidence=result.confidence,
        reasons=result.reasons,
        # Nothing is saved by repeating an answer that is not comparable.
        baseline_usd=result.baseline_usd if result.comparable else ZERO,
        baseline_model=result.baseline_model,
        comparable=result.comparable,
    )
    cache.put(key, answer)


def _fields(record: Any) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}


def _plain(value: Any) -> Any:
    """Convert what JSON can't contain: records to their fields, bytes to their digest, anything else to its repr."""
    if isinstance(value, Schema):
        return value.json_schema
    if dataclasses.is_dataclass(value):
        return _fields(value)
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if (code := getattr(value, "__code__", None)) is not None:  # of a function, the same in every process
        return [value.__qualname__, code.co_code.hex(), repr(code.co_consts)]
    return repr(value)
