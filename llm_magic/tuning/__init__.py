"""Learning from the user: ratings, escalations, repeats and failed checks in the ledger move what the models are
thought capable of, by a small, explained, reversible step. Nothing leaves the machine; nothing changes before a yes.

The step: in each tier, two things may differ from the packaged estimates (in logits): how hard this user's prompts are,
for all models alike, and how good each model is. Both are the most probable ones given what happened and normal priors
around zero, PROMPTS_SD and MODEL_SD wide; each answer counts at its prompt's difficulty. So a model is not blamed for
prompts that are hard for all, and one that was never asked is not thought the better for it. With one complaint hardly
anything moves, with fifty it does.
"""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from llm_magic.errors import TuningError
from llm_magic.home import home
from llm_magic.registry import Registry
from llm_magic.types import Attempt, Doubt, Outcome, TaskTier

PROMPTS_SD = 0.6
"""Logits. How much harder or easier one person's prompts of a tier may well be than typical ones."""
MODEL_SD = 0.4
"""Logits. How far off a packaged estimate of a model may well be, among models."""
LARGEST = 1.5
"""Logits. Either, however often it happened."""
GRAIN = 0.25
"""Logits of difficulty within which prompts count as equally hard."""
ROUNDS = 200
"""Of solving for the one with the other fixed, at the most."""
SILENCE = 0.1
"""How much an answer counts as good that nobody rated, repeated or escalated."""
REPEATED = 0.5
"""How much a run that was asked again counts as bad: it may have been for another reason."""
FILE = "tuning.toml"
_HARDEST_FIRST = list(TaskTier)

Key = tuple[str, TaskTier]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the ledger says of one model in one tier."""

    marks: Mapping[float, tuple[float, float]] = dataclasses.field(default_factory=dict[float, tuple[float, float]])
    """How much was good and how much bad, by the prompts' difficulty to GRAIN; a rating counts 1."""
    why: Mapping[str, int] = dataclasses.field(default_factory=dict[str, int])
    """How many of each kind: rated good, rated bad, escalated, asked again, invalid, check failed, unrated."""

    @property
    def good(self) -> float:
        return sum(good for good, _ in self.marks.values())

    @property
    def bad(self) -> float:
        return sum(bad for _, bad in self.marks.values())

    def with_one(self, kind: str, difficulty: float) -> Evidence:
        """And one more."""
        at = round(difficulty / GRAIN) * GRAIN
        good, bad = self.marks.get(at, (0.0, 0.0))
        good += {"rated good": 1.0, "unrated": SILENCE}.get(kind, 0.0)
        bad += {"rated good": 0.0, "unrated": 0.0, "asked again": REPEATED}.get(kind, 1.0)
        return Evidence(marks={**self.marks, at: (good, bad)}, why={**self.why, kind: self.why.get(kind, 0) + 1})

    @property
    def spoken(self) -> int:
        """How many are more than silence."""
        return sum(many for kind, many in self.why.items() if kind != "unrated")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What to add to the packaged capabilities, in logits."""

    prompts: Mapping[TaskTier, float] = dataclasses.field(default_factory=dict[TaskTier, float])
    """By tier, for every model: below zero where the user's prompts are harder than typical ones."""
    models: Mapping[Key, float] = dataclasses.field(default_factory=dict[Key, float])
    """By model and tier, besides."""

    def __bool__(self) -> bool:
        return bool(self.prompts or self.models)

    def shift(self, model: str, tier: TaskTier) -> float:
        return self.prompts.get(tier, 0.0) + self.models.get((model, tier), 0.0)


def evidence(rows: Iterable[Attempt]) -> dict[Key, Evidence]:
    """What ratings, escalations, repeats and failures say of each model in each tier.

    A rating outweighs all else about a run. A run that has a child (`parent_run_id`) of a harder tier was escalated;
    of the same tier, by the same model, asked again. What was asked at the same time, in a comparison, says nothing.
    """
    attempts = list(rows)
    runs = {row.run_id: row for row in attempts if row.outcome == Outcome.OK}
    children: dict[str, list[Attempt]] = {}
    for row in runs.values():
        if row.parent_run_id in runs:
            children.setdefault(row.parent_run_id, []).append(row)
    found: dict[Key, Evidence] = {}
    for row in attempts:
        if row.outcome == Outcome.OK:
            kind = _said(row, children.get(row.run_id, []))
        elif row.outcome == Outcome.INVALID:
            kind = "invalid"
        elif row.outcome == Outcome.SUPERSEDED and row.reason in (Doubt.CHECK_FAILED, Doubt.JUDGED_BAD):
            kind = "check failed"
        else:
            continue
        key = (row.model, row.tier)
        found[key] = found.get(key, Evidence()).with_one(kind, row.difficulty)
    return found


def _said(row: Attempt, children: list[Attempt]) -> str:
    ended = row.started_at + timedelta(seconds=row.latency_s)
    children = [child for child in children if child.started_at >= ended]
    if row.rating is not None:
        return "rated good" if row.rating > 0 else "rated bad"
    if any(_HARDEST_FIRST.index(child.tier) < _HARDEST_FIRST.index(row.tier) for child in children):
        return "escalated"
    return "asked again" if any(child.model == row.model for child in children) else "unrated"


def tune(rows: Iterable[Attempt], registry: Registry) -> Tuning:
    """The step that the ledger's rows ask for, from the packaged capabilities of the registry's models."""
    found = {key: of for key, of in evidence(rows).items() if key[0] in registry}
    prompts: dict[TaskTier, float] = {}
    models: dict[Key, float] = {}
    for tier in TaskTier:
        seen = {model: of for (model, its), of in found.items() if its is tier}
        if not any(of.spoken for of in seen.values()):
            continue
        common, own = step({model: registry[model].capability.get(tier, 0.0) for model in seen}, seen)
        prompts[tier] = round(common, 3)
        models |= {(model, tier): round(shift, 3) for model, shift in own.items()}
    return Tuning(
        prompts={tier: shift for tier, shift in prompts.items() if shift},
        models={key: shift for key, shift in models.items() if shift},
    )


def step(capability: Mapping[str, float], seen: Mapping[str, Evidence]) -> tuple[float, dict[str, float]]:
    """What to add for every model, and for each of these: the mode of the posterior, one coordinate after another."""
    common, own = 0.0, dict.fromkeys(seen, 0.0)
    for _ in range(ROUNDS):
        before = common, dict(own)
        common = _best([(capability[model] + own[model], of) for model, of in seen.items()], PROMPTS_SD)
        own = {model: _best([(capability[model] + common, of)], MODEL_SD) for model, of in seen.items()}
        if abs(common - before[0]) + sum(abs(own[model] - before[1][model]) for model in own) < 1e-6:
            break
    return common, own


def _best(parts: Sequence[tuple[float, Evidence]], sd: float) -> float:
    """The x at which the sum of good - (good + bad) / (1 + exp(difficulty - level - x)) is x / sd ** 2. By halving."""
    marks = [(level - hard, good, good + bad) for level, of in parts for hard, (good, bad) in of.marks.items()]

    def slope(shift: float) -> float:
        pull = sum(good - both / (1.0 + math.exp(-level - shift)) for level, good, both in marks)
        return pull - shift / sd**2

    low, high = -LARGEST, LARGEST
    if slope(high) >= 0:
        return high
    if slope(low) <= 0:
        return low
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return (low + high) / 2


def tuned(registry: Registry, tuning: Tuning) -> Registry:
    """The registry with the capabilities of its models moved."""
    if not tuning:
        return registry
    return registry.with_models(
        dataclasses.replace(
            model,
            capability={tier: level + tuning.shift(model.id, tier) for tier, level in model.capability.items()},
        )
        for model in registry
    )


def load(path: Path | None = None) -> Tuning:
    """What is applied now: `tuning.toml` in LLM_MAGIC_HOME; nothing where there is none. Raises TuningError."""
    path = path or home() / FILE
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return Tuning()
    except (OSError, UnicodeDecodeError) as error:
        raise TuningError(f"{path}: can't be read: {error}") from error
    try:
        tables: dict[str, Any] = tomllib.loads(text)
        if unknown := tables.keys() - {"prompts", "capability"}:
            raise ValueError(f"unknown key {min(unknown)!r}; known are prompts and capability")
        named = _table(tables.get("capability", {}), "capability")
        return Tuning(
            prompts=dict(_shifts(tables.get("prompts", {}), "prompts")),
            models={
                (model, tier): shift
                for model, of in named.items()
                for tier, shift in _shifts(of, f"capability.{model}")
            },
        )
    except ValueError as error:
        raise TuningError(f"{path}: {error}. Mend it, or take it back with %route_tune --reset") from error


def _table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be a table")
    return cast("dict[str, Any]", value)


def _shifts(value: Any, where: str) -> Iterator[tuple[TaskTier, float]]:
    for tier, shift in _table(value, where).items():
        if isinstance(shift, bool) or not isinstance(shift, int | float) or not -LARGEST <= shift <= LARGEST:
            raise ValueError(f"{where}.{tier} = {shift!r} must be between {-LARGEST} and {LARGEST}")
        yield TaskTier(tier), float(shift)


def save(tuning: Tuning, path: Path | None = None) -> Path:
    """Keep it, for a person to read and to change."""
    path = path or home() / FILE
    lines = [
        "# Learnt by %route_tune from your own ledger; %route_tune --reset, or deleting this file, takes it back.",
        "# Logits that are added to the models' capabilities: by tier to every model's, as your prompts are,",
        "# and by model and tier besides.",
    ]
    if tuning.prompts:
        lines += ["", "[prompts]", *(f"{tier} = {shift:+.3f}" for tier, shift in sorted(tuning.prompts.items()))]
    for model in sorted({model for model, _ in tuning.models}):
        quoted = json.dumps(model, ensure_ascii=False).replace("\x7f", "\\u007f")
        lines += ["", f"[capability.{quoted}]"]
        lines += [f"{tier} = {shift:+.3f}" for (name, tier), shift in sorted(tuning.models.items()) if name == model]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def reset(path: Path | None = None) -> bool:
    """Take it back. Whether there was anything to take back."""
    path = path or home() / FILE
    if not path.exists():
        return False
    path.unlink()
    return True
