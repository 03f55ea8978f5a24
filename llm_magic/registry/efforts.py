"""The levels of effort of models: checks, and what is expected of each level."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, cast

from llm_magic.errors import RegistryError
from llm_magic.registry import reading
from llm_magic.registry.validation import check_params
from llm_magic.types import Effort, EffortLevels, ModelSpec, ProviderSpec, TaskTier


def check_levels(model: ModelSpec, provider: ProviderSpec | None, origin: str) -> None:
    """Raise RegistryError for a default that the model lacks, and for parameters that can't be sent."""
    sent: dict[str, Mapping[str, Any]] = {"brief": model.brief, "summary": model.summary}
    if model.effort is not None:
        if model.effort.default not in model.effort.params:
            levels = ", ".join(model.effort) or "none"
            raise RegistryError(
                f"{origin}: models.{model.id}.effort.default = {model.effort.default!r} "
                f"must be one of the levels: {levels}"
            )
        sent |= {f"effort.{effort}": params for effort, params in model.effort.params.items()}
    for key, params in sent.items():
        check_params(params, provider, f"{origin}: models.{model.id}.{key}")


def with_expectations(model: ModelSpec) -> ModelSpec:
    """Return the model with its levels, and with what is expected of each.

    If a model's own `params` state what an effort sets, its only level is the one with these parameters. Without such a
    level, its effort is unknown.
    """
    levels = model.effort
    if levels is None:
        return model
    own = dict(_leaves(model.params))
    stated = {path for params in levels.params.values() for path, _ in _leaves(params)} & own.keys()
    if stated:
        fixed = [
            effort
            for effort, params in levels.params.items()
            if {path: own[path] for path in stated} == dict(_leaves(params))
        ]
        if not fixed:
            return dataclasses.replace(model, effort=None)
        levels = dataclasses.replace(levels, default=fixed[0], params={fixed[0]: levels.params[fixed[0]]})
    step, tokens = _tables()
    default_rank = (model.effort or levels).default.rank
    steps: Mapping[Effort, Mapping[TaskTier, float]] = {
        effort: {tier: gain * (effort.rank - default_rank) for tier, gain in step.items()} for effort in levels.params
    }
    return dataclasses.replace(
        model,
        effort=EffortLevels(
            default=levels.default,
            params=levels.params,
            capability_steps=levels.capability_steps or steps,
            reasoning_tokens=levels.reasoning_tokens or {effort: tokens[effort] for effort in levels.params},
            source=levels.source,
        ),
    )


@lru_cache(maxsize=1)
def _tables() -> tuple[dict[TaskTier, float], dict[Effort, dict[TaskTier, float]]]:
    return reading.effort_tables()


def _leaves(params: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in params.items():
        if isinstance(value, Mapping):
            yield from _leaves(cast("Mapping[str, Any]", value), (*path, name))
        else:
            yield (*path, name), value
