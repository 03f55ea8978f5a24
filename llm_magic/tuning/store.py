"""Storage of the applied tuning in `tuning.toml` in LLM_MAGIC_HOME."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from llm_magic.errors import TuningError
from llm_magic.home import home
from llm_magic.permissions import make_folder, restrict
from llm_magic.tuning.estimation import MAX_SHIFT, Tuning
from llm_magic.types import TaskTier

FILE = "tuning.toml"
_HEADER = (
    "# Learned by %route_tune from your own ledger. To undo it, use %route_tune --reset or delete this file.",
    "# Logits that are added to the models' capabilities: by tier to those of every model,",
    "# and by model and tier in addition.",
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
    for model in sorted({model for model, _ in tuning.models}):
        quoted = json.dumps(model, ensure_ascii=False).replace("\x7f", "\\u007f")
        lines += ["", f"[capability.{quoted}]"]
        lines += [f"{tier} = {shift:+.3f}" for (name, tier), shift in sorted(tuning.models.items()) if name == model]
    make_folder(path.parent)
    path.write_text("\n".join(lines) + "\n", "utf-8")
    restrict(path)
    return path


def reset(path: Path | None = None) -> bool:
    """Delete the file; return False if there is none."""
    path = path or home() / FILE
    if not path.exists():
        return False
    path.unlink()
    return True


def _parse(tables: dict[str, Any]) -> Tuning:
    if unknown := tables.keys() - {"prompts", "capability"}:
        raise ValueError(f"unknown key {min(unknown)!r}; known are prompts and capability")
    capability = _table(tables.get("capability", {}), "capability")
    return Tuning(
        prompts=dict(_shifts(tables.get("prompts", {}), "prompts")),
        models={
            (model, tier): shift
            for model, table in capability.items()
            for tier, shift in _shifts(table, f"capability.{model}")
        },
    )


def _table(value: Any, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{key} must be a table")
    return cast("dict[str, Any]", value)


def _shifts(value: Any, key: str) -> Iterator[tuple[TaskTier, float]]:
    for tier, shift in _table(value, key).items():
        if isinstance(shift, bool) or not isinstance(shift, int | float) or not -MAX_SHIFT <= shift <= MAX_SHIFT:
            raise ValueError(f"{key}.{tier} = {shift!r} must be between {-MAX_SHIFT} and {MAX_SHIFT}")
        yield TaskTier(tier), float(shift)
