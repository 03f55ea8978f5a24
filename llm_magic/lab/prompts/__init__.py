"""The prompts that were written for llm_magic, to train and to evaluate the tier head.

There is one TOML file per tier, with its prompts by kind. `composed` builds prompts from parts.toml, `variants` varies
prompts with around.toml. A fixed share of the prompts is never trained on.
"""

from __future__ import annotations

import functools
import hashlib
import tomllib
from importlib import resources
from typing import Any

from llm_magic.errors import EvaluationError
from llm_magic.lab.data import Labeled
from llm_magic.types import TaskTier

OWN_SOURCE_PREFIX = "llm_magic"
HELD_OUT_SHARE = 1 / 6


def read_prompt_file(name: str) -> dict[str, Any]:
    """Read one of the TOML files. Raises EvaluationError in an installation from a wheel, which has none of them."""
    try:
        text = resources.files(__name__).joinpath(f"{name}.toml").read_text("utf-8")
    except FileNotFoundError as error:
        raise EvaluationError(
            f"the training prompts (lab/prompts/{name}.toml) are not part of the wheel: "
            "run this in a source checkout of llm_magic"
        ) from error
    return tomllib.loads(text)


def is_held_out(text: str) -> bool:
    """Return True if a prompt is never trained on. This depends on its text alone, so it never changes."""
    digest = hashlib.sha256(f"llm_magic-own-v1|{text}".encode()).digest()
    return int.from_bytes(digest[:4], "big") < HELD_OUT_SHARE * 2**32


@functools.cache
def own_prompts(*, held_out: bool = False) -> Labeled:
    return Labeled.from_rows(
        [
            (text, tier, f"{OWN_SOURCE_PREFIX} {kind}")
            for tier in TaskTier
            for kind, texts in read_prompt_file(tier.lower()).items()
            for text in map(str.strip, texts)
            if is_held_out(text) == held_out
        ]
    )
