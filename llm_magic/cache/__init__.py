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

_IRRELEVANT_FIELDS = ("tags", "hedge_s", "cache", "parent_run_id", "thread", "is_quality_stated", "rule")
"""Fields of a request that do not affect the answer."""


def key(request: Request, models: Iterable[ModelSpec]) -> str:
    """Hash everything that the answer depends on: the request, the available models, the version of llm_magic."""
    asked = {name: value for name, value in _fields(request).items() if name not in _IRRELEVANT_FIELDS}
    said = json.dumps(
        [version("llm-magic"), asked, [_fields(model) for model in models]], sort_keys=True, default=_plain
    )
    return hmac.new(hash_key(), said.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def recall(
    plan: Plan, key: str, cache: AnswerCache, ledger: Ledger, budget: Budget, *, run_id: str, at: datetime
) -> RouteResult | None:
    """Return the cached answer as the result of a run that cost nothing, and record its row; None if there is none."""
    kept = cache.get(key)
    if kept is None:
        return None
    schema = plan.request.schema
    try:
        data = None if schema is None else answers.parse(kept.text, schema)
    except InvalidAnswer:
        return None
    row = _cached_row(kept, plan.request, ledger.session_id, run_id, at)
    ledger.record(row)
    return RouteResult(
        run_id=run_id,
        text=kept.text,
        data=data,
        model=kept.model,
        served_model=kept.served_model,
        tier=kept.tier,
        confidence=kept.confidence,
        reasons=kept.reasons,
        path=(Step(model=kept.model, outcome=Outcome.CACHED, detail="the same was asked before: nothing was sent"),),
        attempts=(row,),
        usage=Usage(),
        finish_reason="stop",
        cost_usd=ZERO,
        cost_estimated=False,
        session_cost_usd=ledger.spent_usd,
        cap_usd=budget.session_usd,
        baseline_usd=kept.baseline_usd,
        baseline_model=kept.baseline_model,
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
    kept = CachedAnswer(
        text=result.text,
        model=result.model,
        provider=next(attempt.provider for attempt in result.attempts if attempt.outcome == Outcome.OK),
        served_model=result.served_model,
        tier=result.tier,
        confidence=result.confidence,
        reasons=result.reasons,
        baseline_usd=result.baseline_usd,
        baseline_model=result.baseline_model,
    )
    cache.put(key, kept)


def _fields(record: Any) -> dict[str, Any]:
    return {part.name: getattr(record, part.name) for part in dataclasses.fields(record)}


def _plain(value: Any) -> Any:
    """Convert what JSON can't contain: records to their fields, bytes to their digest, anything else to its repr."""
    if isinstance(value, Schema):
        return value.json_schema
    if dataclasses.is_dataclass(value):
        return _fields(value)
    return hashlib.sha256(value).hexdigest() if isinstance(value, bytes) else repr(value)
