from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from llm_magic.types.efforts import Effort
from llm_magic.types.schemas import Schema
from llm_magic.types.shadowing import Shadowing
from llm_magic.types.tasks import TaskTier

DEFAULT_QUALITY = 0.96
"""Half a point above 0.96, because at 0.96 many plain prompts are on the edge between two models. 0.96 is the lowest
setting from which routing among many models stays within a point of the best single model, on held-out thirds of the
training prompts of ZeroEval (21 models, at 58 % of its cost) and MMLU-Pro (11 models, at 74 %)."""

OnRefusal = Literal["fallback", "stop"]
SendWhen = Literal["now", "cheap"]

CascadeMode = Literal["agree", "twice", "look", "schema", "check", "judge"]
"""Confirmation of a cheap answer: a second model, the same model again, its form (syntax, labels, units), the schema,
the user's check, or a judge."""
CascadeChoice = Literal["any", "effort"]
"""Any: the cheapest cascade that keeps the quality. Effort: the leader's model at two levels of effort."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image to send. width, height: in pixels; -1 if unknown."""

    data: bytes = field(repr=False)
    media_type: str
    width: int = -1
    height: int = -1

    @property
    def base64(self) -> str:
        return base64.b64encode(self.data).decode("ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A text or an image to send.

    detail: the parts that were left out, in words, for the model. changes: what was changed before sending, for the
    user.
    """

    name: str
    text: str = field(default="", repr=False)
    image: Image | None = None
    detail: str = ""
    changes: str = ""

    @property
    def block(self) -> str:
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
    """A stored conversation, without the older exchanges that are not sent.

    warm_model: the model whose prompt cache holds the beginning of what is sent, with `warm_tokens` by its own count.
    """

    name: str
    dropped_exchanges: int = 0
    tier: TaskTier | None = None
    confidence: float = 1.0
    warm_model: str | None = None
    warm_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A prompt and its options, before a model is chosen.

    quality: minimum share of the best expected quality, from 0 (the cheapest model) to 1 (the best). hedge_s: seconds
    without a token after which the next candidate is asked too. routing_text: the part of the prompt that decides the
    tier; None takes all of it.
    """

    prompt: str
    system: str | None = None
    tier: TaskTier | None = None
    model: str | None = None
    model_reason: str = ""
    """The reason for `model`, for display. Empty: the user named it."""
    max_output_tokens: int | None = None
    max_cost_usd: Decimal | None = None
    schema: Schema | None = None
    tags: tuple[str, ...] = ()
    routing_text: str | None = None
    quality: float = DEFAULT_QUALITY
    hedge_s: float | None = None
    parent_run_id: str | None = None
    attachments: tuple[Attachment, ...] = ()
    history: tuple[Message, ...] = ()
    thread: Thread | None = None
    cache: bool = False
    cascade: CascadeMode | CascadeChoice | Literal["off"] | None = None
    """Ask cheap models, or the leader at its lowest effort, first, and the leader if their answer is not confirmed.
    None: if the answers can be compared or their form can be examined, and the plan expects a lower cost at the
    requested quality."""
    check: Callable[[str], bool] | None = None
    judge: str | None = None
    last_resort: str | None = None
    """The model to ask when no other one answers, whatever its expected quality."""
    on_refusal: OnRefusal = "fallback"
    """After a refusal: ask one other provider, or stop."""
    is_quality_stated: bool = False
    cache_prefix: bool = False
    effort: Effort | None = None
    """None: the plan chooses."""
    worth_usd: Decimal | None = None
    """Worth of a good answer. The plan takes the model and effort with the highest expected worth minus cost."""
    flex: bool = False
    """Use the cheaper and slower service tier `flex`."""
    when: SendWhen = "now"
    """Send now, or wait for the hours in which it is expected to cost less."""
    shared_chars: int | None = None
    """Length of the beginning of the prompt that all rows of a column share; None for a prompt alone."""
    rule: str = ""
    """The rule that changed this request, for display: `rule 2 in models.toml: tag 'legal'`."""
    shadowing: Shadowing = field(default_factory=Shadowing)
