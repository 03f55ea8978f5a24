"""The prompts that the project wrote itself, for training the tier head and for judging it.

A file a tier, with the prompts by kind; `parts.toml` is what `composed` puts together, `around.toml` what `variants`
puts around. A part of the prompts, by a fixed rule, is never trained on (`held_out`).
"""

from __future__ import annotations

import functools
import hashlib
import tomllib
from importlib import resources
from typing import Any

from llm_magic.errors import EvaluationError
from llm_magic.lab.evaluate.data import Labelled
from llm_magic.types import TaskTier

OWN = "llm_magic"
"""How the sources of the project's own prompts begin; then comes their kind."""
HELD_OUT = 1 / 6
"""Share of them that is never trained on."""


def read(name: str) -> dict[str, Any]:
    """Read one of the TOML files. Raises EvaluationError in an installation from a wheel, which has none of them."""
    try:
        text = resources.files(__name__).joinpath(f"{name}.toml").read_text("utf-8")
    except FileNotFoundError as error:
        raise EvaluationError(
            f"the training prompts (lab/prompts/{name}.toml) are not part of the wheel: "
            "run this in a source checkout of llm_magic"
        ) from error
    return tomllib.loads(text)


def held_out(text: str) -> bool:
    """Whether a prompt of the project is kept for judging. By its text alone, so that it stays so."""
    digest = hashlib.sha256(f"llm_magic-own-v1|{text}".encode()).digest()
    return int.from_bytes(digest[:4], "big") < HELD_OUT * 2**32


@functools.cache
def own_prompts(*, judged: bool = False) -> Labelled:
    """The prompts that the project wrote itself: those to train on, or those that are `judged` only."""
    rows = [
        (text, tier, f"{OWN} {kind}")
        for tier in TaskTier
        for kind, texts in read(tier.lower()).items()
        for text in map(str.strip, texts)
        if held_out(text) == judged
    ]
    return Labelled(
        prompts=tuple(text for text, _, _ in rows),
        tiers=tuple(tier for _, tier, _ in rows),
        sources=tuple(source for _, _, source in rows),
    )
