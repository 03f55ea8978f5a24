"""Storage of the applied tuning in `tuning.toml` in LLM_MAGIC_HOME."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from llm_magic.errors import TuningError
from llm_magic.home import home
from llm_magic.permissions import make_folder, restrict
from llm_magic.tuning.acceptance import Acceptance
from llm_magic.tuning.estimation import MAX_SHIFT, Tuning
from llm_magic.tuning.evidence import ModelTier
from llm_magic.tuning.steps import MAX_FACTOR, PRIOR_WIDTH, EffortSteps
from llm_magic.types import Accepted, Confirmation, TaskTier

FILE = "tuning.toml"
_TABLES = {"prompts", "capability", "width", "effort", "acceptance"}
_ACCEPTANCE = ("right", "wrong", "right_width", "wrong_width")
_HEADER = (
    "# Learned by %route_tune from your own ledger. To undo it, use %route_tune --reset or delete this file.",
    "# Logits that are added to the models' capabilities: by tier to those of every model,",
    "# and by model and tier in addition. Widths are standard deviations of the sum.",
    "# The factor of [effort] multiplies the steps between levels of effort; its width is that of the logarithm.",
    "# Of right and of wrong answers, [acceptance] has the shares that a confirmation of cascades accepts, 0 to 1.",
)


def load(path: Path | None = None) -> Tuning:
    """Return the applied tuning; empty if there is no file. Raises TuningError."""
    path = path or home() / FILE
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return Tuning()
    except (OSError, UnicodeDecodeError) as error:
        raise TuningError(f"{path}: can't be read: {error}") from error
    try:
        return _parse(tomllib.loads(text))
    except ValueError as error:
        raise TuningError(f"{path}: {error}. Fix it, or undo with %route_tune --reset") from error


def save(tuning: Tuning, path: Path | None = None) -> Path:
    """Write the tuning in a form that people can read and edit, and return the path."""
    path = path or home() / FILE
    lines = [*_HEADER]
    if tuning.prompts:
        lines += ["", "[prompts]", *(f"{tier} = {shift:+.3f}" for tier, shift in sorted(tuning.prompts.items()))]
    if tuning.effort:
        lines += ["", "[effort]", f"factor = {tuning.effort.factor:.3f}", f"width = {tuning.effort.width:.3f}"]
    for kind, found in sorted(tuning.acceptance.items()):
        lines += ["", f"[acceptance.{kind}]"]
        lines += [
            f"{name} = {value:.3f}" for name, value in zip(_ACCEPTANCE, (*found.shares, *found.widths), strict=True)
        ]
    lines += [*_model_tables("capability", tuning.models, "+.3f"), *_model_tables("width", tuning.widths, ".3f")]
    make_folder(path.parent)
    path.write_text("\n".join(lines) + "\n", "utf-8")
    restrict(path)
    return path


def _model_tables(key: str, values: Mapping[ModelTier, float], digits: str) -> Iterator[str]:
    for model in sorted({model for model, _ in values}):
        quoted = json.dumps(model, ensure_ascii=False).replace("\x7f", "\\u007f")
        yield from ("", f"[{key}.{quoted}]")
        for (name, tier), value in sorted(values.items()):
            if name == model:
                yield f"{tier} = {value:{digits}}"


def reset(path: Path | None = None) -> bool:
    """Delete the file; return False if there is none."""
    path = path or home() / FILE
    if not path.exists():
        return False
    path.unlink()
    return True


def _parse(tables: dict[str, Any]) -> Tuning:
    if unknown := tables.keys() - _TABLES:
        raise ValueError(f"unknown key {min(unknown)!r}; known are {', '.join(sorted(_TABLES))}")
    return Tuning(
        prompts=dict(_shifts(tables.get("prompts", {}), "prompts")),
        models=_by_model(tables, "capability"),
        widths=_by_model(tables, "width"),
        effort=_effort(_table(tables.get("effort", {}), "effort")),
        acceptance={
            Confirmation(kind): _acceptance(_table(table, f"acceptance.{kind}"), kind)
            for kind, table in _table(tables.get("acceptance", {}), "acceptance").items()
        },
    )


def _acceptance(table: dict[str, Any], kind: str) -> Acceptance:
    if table.keys() != set(_ACCEPTANCE):
        raise ValueError(f"acceptance.{kind} must have {', '.join(_ACCEPTANCE)}")
    for name, value in table.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise ValueError(f"acceptance.{kind}.{name} = {value!r} must be between 0 and 1")
    right, wrong, right_width, wrong_width = (float(table[name]) for name in _ACCEPTANCE)
    return Acceptance(shares=Accepted(right, wrong), widths=Accepted(right_width, wrong_width))


def _effort(table: dict[str, Any]) -> EffortSteps:
    if unknown := table.keys() - {"factor", "width"}:
        raise ValueError(f"unknown key 'effort.{min(unknown)}'; known are factor and width")
    allowed = {"factor": (1 / MAX_FACTOR, MAX_FACTOR), "width": (0.0, PRIOR_WIDTH)}
    numbers: dict[str, float] = {}
    for name, value in table.items():
        low, high = allowed[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError(f"effort.{name} = {value!r} must be between {low:.3g} and {high:.3g}")
        numbers[name] = float(value)
    return EffortSteps(**numbers)


def _by_model(tables: dict[str, Any], key: str) -> dict[tuple[str, TaskTier], float]:
    return {
        (model, tier): value
        for model, table in _table(tables.get(key, {}), key).items()
        for tier, value in _shifts(table, f"{key}.{model}")
    }


def _table(value: Any, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{key} must be a table")
    return cast("dict[str, Any]", value)


def _shifts(value: Any, key: str) -> Iterator[tuple[TaskTier, float]]:
    for tier, shift in _table(value, key).items():
        if isinstance(shift, bool) or not isinstance(shift, int | float) or not -MAX_SHIFT <= shift <= MAX_SHIFT:
            raise ValueError(f"{key}.{tier} = {shift!r} must be between {-MAX_SHIFT} and {MAX_SHIFT}")
        yield TaskTier(tier), float(shift)
