"""Requests, and everything that is sent with a prompt."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from llm_magic.types.schemas import Schema
from llm_magic.types.tasks import TaskTier

DEFAULT_QUALITY = 0.965
"""Half a point above 0.96, because at 0.96 many plain prompts are on the edge between two models. 0.96 is the lowest
setting from which routing among many models stays within a point of the best single model, on held-out thirds of the
training prompts of ZeroEval (21 models, at 58 % of its cost) and MMLU-Pro (11 models, at 74 %)."""

CascadeMode = Literal["agree", "twice", "schema", "check", "judge"]
"""Confirmation of a cheap answer: a second model, the same model again, the schema, the user's check, or a judge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    data: bytes = field(repr=False)
    media_type: str
    width: int = -1
    """In pixels; -1: unknown."""
    height: int = -1

    @property
    def base64(self) -> str:
        return base64.b64encode(self.data).decode("ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    name: str
    text: str = field(default="", repr=False)
    image: Image | None = None
    detail: str = ""
    """Parts that were left out, in words."""

    @property
    def block(self) -> str:
        """The attachment as prompt text; images appear by name only."""
        shown = self.name.replace('"', "'").replace("\n", " ")
        name = f'name="{shown}"'
        if self.image is not None:
            return f"<attachment {name} type={self.image.media_type!r}/>"
        about = f' content="{self.detail}"' if self.detail else ""
        return f"<attachment {name}{about}>\n{self.text.rstrip()}\n</attachment>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    role: Literal["user", "assistant"]
    content: str
    images: tuple[Image, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    name: str
    turns: int = 0
    """Number of exchanges that are sent."""
    dropped: int = 0
    """Number of older exchanges that are not sent."""
    tier: TaskTier | None = None
    confidence: float = 1.0
    warm_model: str | None = None
    """The model whose prompt cache holds the beginning of what is sent."""
    warm_tokens: int = 0
    """Cached tokens, as that model's provider counted them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A prompt and its options, before a model is chosen."""

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
    """Minimum share of the best candidate's expected quality, 0..1: 0 takes the cheapest model, 1 the best."""
    hedge_s: float | None = None
    """Ask the next candidate too if the first token takes longer than this; None: never."""
    parent_run_id: str | None = None
    attachments: tuple[Attachment, ...] = ()
    """Sent ahead of the prompt; they do not decide the tier."""
    history: tuple[Message, ...] = ()
    thread: Thread | None = None
    cache: bool = False
    """Answer from the cache if possible, and store a new answer there."""
    cascade: CascadeMode | Literal["off"] | None = None
    """Ask cheap models first, and the plan's leader only if their answer is not confirmed. None: if the answers can be
    compared, and the plan expects a lower cost at the requested quality."""
    check: Callable[[str], bool] | None = None
    """Returns True if an answer's text is acceptable."""
    judge: str | None = None
    is_quality_stated: bool = False
    """True if the caller stated the quality, which then beats a rule of `models.toml`."""
    rule: str = ""
    """The rule that changed this request, for display: `rule 2 in models.toml: tag 'legal'`."""
