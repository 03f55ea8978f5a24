from __future__ import annotations

from dataclasses import dataclass

RESERVED_TAG_PREFIX = "llm_magic:"
SHADOW_TAG = f"{RESERVED_TAG_PREFIX}shadow"
"""Tag of the rows of shadow runs, by which their cap counts them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadowing:
    """Settings of shadow runs: a share of answers is compared, in the background, with the answer of another model.

    share: 0 to 1. judge: the id of the model that compares answers; None takes a third model, as good as the weaker of
    the two. never_tags, never_regex: a run with one of the tags, or with a match in anything that is sent, is never
    shadowed. explore: let the choice among models that are good enough vary with what is known of them; None: if shadow
    runs are on.
    """

    share: float = 0.0
    judge: str | None = None
    never_tags: tuple[str, ...] = ()
    never_regex: str = ""
    explore: bool | None = None
