"""What the caller asks for, and what is sent along."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from llm_magic.types.schemas import Schema
from llm_magic.types.tasks import TaskTier

DEFAULT_QUALITY = 0.965
"""Half a point above 0.96, where many a plain prompt stands on the edge between two models. 0.96 is the least
setting from which on routing among many models stays within a point of the best single one, on held-out thirds of the
training prompts of ZeroEval (21 models, at 58 % of its cost) and MMLU-Pro (11 models, at 74 %)."""

CascadeMode = Literal["agree", "twice", "schema", "check", "judge"]
"""What confirms a cheap answer: a second model, the same one once more, the schema, the user's check, or a judge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image as it is sent."""

    data: bytes = field(repr=False)
    media_type: str
    width: int = -1
    """Pixels; -1: not known."""
    height: int = -1

    @property
    def base64(self) -> str:
        return base64.b64encode(self.data).decode("ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A text, a table or an image that is sent with a prompt."""

    name: str
    text: str = field(default="", repr=False)
    image: Image | None = None
    detail: str = ""
    """What was left out of it, in words."""

    @property
    def block(self) -> str:
        """It as text in the prompt, where an image is there by its name only."""
        shown = self.name.replace('"', "'").replace("\n", " ")
        name = f'name="{shown}"'
        if self.image is not None:
            return f"<attachment {name} type={self.image.media_type!r}/>"
        about = f' content="{self.detail}"' if self.detail else ""
        return f"<attachment {name}{about}>\n{self.text.rstrip()}\n</attachment>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation."""

    role: Literal["user", "assistant"]
    content: str
    images: tuple[Image, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """A conversation, as it stands before its next prompt."""

    name: str
    turns: int = 0
    """Exchanges that are sent along."""
    dropped: int = 0
    """Older ones that are not."""
    tier: TaskTier | None = None
    """Of the last prompt; None: there was none."""
    confidence: float = 1.0
    warm_model: str | None = None
    """Whose prompt cache holds the beginning of what is sent; None: nobody's."""
    warm_tokens: int = 0
    """How much of it, as that model's provider counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the caller asked for, before any model is chosen."""

    prompt: str
    system: str | None = None
    tier: TaskTier | None = None
    model: str | None = None
    max_output_tokens: int | None = None
    max_cost_usd: Decimal | None = None
    schema: Schema | None = None
    tags: tuple[str, ...] = ()
    routing_text: str | None = None
    """The part of the prompt that decides the tier; None: all of it."""
    quality: float = DEFAULT_QUALITY
    """The least share of the best candidate's expected quality that will do, 0..1: 0 takes the cheapest, 1 the best."""
    hedge_s: float | None = None
    """Ask the next candidate too when the first token takes longer than this; None: never."""
    parent_run_id: str | None = None
    """The run that this one repeats or escalates."""
    attachments: tuple[Attachment, ...] = ()
    """Sent ahead of the prompt; they do not decide the tier."""
    history: tuple[Message, ...] = ()
    """What was said before, sent ahead of the prompt."""
    thread: Thread | None = None
    """The conversation that the history is of, and that the answer is added to."""
    cache: bool = False
    """Answer from the cache where the same was asked before, and keep the answer there."""
    cascade: CascadeMode | Literal["off"] | None = None
    """Ask cheap models first, and the plan's leader only where their answer is not confirmed; None: where the plan
    expects it to cost less at the wanted quality, and answers can be compared."""
    check: Callable[[str], bool] | None = None
    """The user's own test of an answer's text."""
    judge: str | None = None
    """The id of the model that says whether a cheap answer will do."""
