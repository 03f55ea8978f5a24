"""The nouns: frozen records that every room passes to the next."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal

ZERO = Decimal(0)

DEFAULT_QUALITY = 0.96
"""The least setting from which on routing among many models stays within a point of the best single one, on held-out
thirds of the training prompts of ZeroEval (21 models, at 58 % of its cost) and MMLU-Pro (11 models, at 74 %)."""

CascadeHow = Literal["agree", "twice", "schema", "check", "judge"]
"""What confirms a cheap answer: a second model, the same one once more, the schema, the user's check, or a judge."""


class TaskTier(StrEnum):
    """What kind of task a prompt is, hardest first."""

    COMPLEX = "COMPLEX"
    STANDARD = "STANDARD"
    STRUCTURED = "STRUCTURED"
    BULK = "BULK"

    @classmethod
    def _missing_(cls, value: object) -> TaskTier | None:
        return cls.__members__.get(value.upper()) if isinstance(value, str) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """A tier, how sure we are of it (0..1), and why, in words."""

    tier: TaskTier
    confidence: float
    reasons: tuple[str, ...] = ()
    probabilities: Mapping[TaskTier, float] = field(default_factory=dict[TaskTier, float])
    """The chance of each tier; empty: `tier` for certain."""
    difficulty: float = 0.0
    """In logits: 0 is typical. The higher, the smaller the chance of a good answer: a strong model helps more."""
    familiarity: float = 1.0
    """The share of its words that the training prompts had, 0..1: low is far from all that was learned from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one attempt, in the same convention for every provider.

    `input_tokens` includes the cached and the cache-written ones, `cache_write_tokens` those that are kept for an
    hour, `output_tokens` the reasoning ones.
    """

    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_1h_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """USD per million tokens, as stated by a registry file.

    An unstated cache price is the input price: never cheaper than what will be billed.
    """

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None
    """Kept for minutes; an unstated price of keeping it for an hour is this one."""
    cache_write_1h: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a usage costs, and by which price list."""

    usd: Decimal
    price_source: str
    input_price: Decimal
    """USD per million uncached input tokens, as applied."""
    output_price: Decimal
    """USD per million output tokens, as applied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSpec:
    """Where a provider is and how it is spoken to. Holds the *names* of secrets, never their values."""

    name: str
    api: Literal["anthropic", "openai", "local"] = "openai"
    base_url: str | None = None
    base_url_env: str | None = None
    api_key_env: str | None = None
    concurrency: int = 64
    """Requests under way at once; further ones queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One model of the registry."""

    id: str
    provider: str
    tiers: tuple[TaskTier, ...] = ()
    """Tiers it is a first choice for. Empty: used as a fallback, or by name."""
    context_window: int
    max_output_tokens: int
    fallback_id: str | None = None
    price: Price | None = None
    """None: by the price catalogue."""
    api_model: str = ""
    """The name on the wire; the id unless stated."""
    token_ratio: float = 1.0
    """Tokens of this family's tokenizer for one token of o200k_base, rounded upward."""
    max_tokens_param: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    json_mode: Literal["schema", "object", "none"] = "schema"
    """How the endpoint constrains its output: to a JSON schema, to any JSON object, or not at all."""
    image_tokens: int = 0
    """The most input tokens that one image comes to; 0: it can't see."""
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Sent with every request as they are, e.g. a seed."""
    source: str = ""
    """Where the figures of this entry come from."""
    capability: Mapping[TaskTier, float] = field(default_factory=dict[TaskTier, float])
    """By kind of task, in logits: the chance of a good answer to a prompt of typical difficulty is 1 / (1 + exp(-it)).
    Empty: by the tiers that it serves."""
    capability_source: str = ""
    """Where these estimates come from."""


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
    schema: Mapping[str, Any] | None = None
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
    cascade: CascadeHow | Literal["off"] | None = None
    """Ask cheap models first, and the plan's leader only where their answer is not confirmed; None: where the plan
    expects it to cost less at the wanted quality, and answers can be compared."""
    check: Callable[[str], bool] | None = None
    """The user's own test of an answer's text."""
    judge: str | None = None
    """The id of the model that says whether a cheap answer will do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model in a plan, with what it is expected to cost and the most that it can cost."""

    model: ModelSpec
    input_tokens: int
    """Estimated, upward."""
    input_tokens_bound: int
    """No tokenizer gives more than this."""
    max_output_tokens: int
    low_usd: Decimal
    expected_usd: Decimal
    worst_usd: Decimal
    why: str = ""
    expected_quality: float = 0.0
    """The chance of a good answer, 0..1, as far as prompt and capability tell."""
    cooling: bool = False
    """It has just failed, and is asked all the same, for want of another."""
    stepped_down: bool = False
    """A better one stood before it, which does not fit under the cap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A model that the plan passed over, and the reason in words."""

    model: ModelSpec
    reason: str
    asked_usd: Decimal | None = None
    """Its worst case, where that is what did not fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cascade:
    """Cheap candidates to ask before the plan's leader, and what it all is expected to cost."""

    how: CascadeHow
    cheap: tuple[Candidate, ...]
    """One; or two that are asked at once, the same one twice or two models."""
    strong: Candidate
    """The plan's leader: asked where the cheap answers are not confirmed."""
    judge: Candidate | None
    kept: float
    """Expected share of such runs that end without the strong one, 0..1."""
    expected_quality: float
    """The chance that it ends in a good answer, 0..1."""
    expected_usd: Decimal
    worst_usd: Decimal
    """All of them asked, at their worst."""
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Something that is sent besides the prompt, with what it costs on the plan's leader."""

    name: str
    tokens: int
    """Estimated, upward."""
    usd: Decimal
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The ordered candidates for one request. Making one sends nothing and spends nothing."""

    request: Request
    classification: Classification
    ranked: tuple[Candidate | Skipped, ...]
    """In the order in which they are tried, the passed-over ones in their places."""
    baseline_model: ModelSpec
    baseline_usd: Decimal
    """Expected cost on the baseline model."""
    left_usd: Decimal | None
    """What the tightest cap had left when the plan was made; None: no cap."""
    parts: tuple[Part, ...] = ()
    cascade: Cascade | None = None
    """What is asked before the candidates, if anything."""
    no_cascade: str = ""
    """Why there is none although one was asked for, in words."""

    @property
    def tier(self) -> TaskTier:
        return self.classification.tier

    @property
    def expected_usd(self) -> Decimal | None:
        """What the run is expected to cost if nothing fails; None where nobody can be asked."""
        if self.cascade is not None:
            return self.cascade.expected_usd
        return self.candidates[0].expected_usd if self.candidates else None

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        return tuple(entry for entry in self.ranked if isinstance(entry, Candidate))

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        return tuple(entry for entry in self.ranked if isinstance(entry, Skipped))


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One request sent to one provider, as it ended: one row of the ledger."""

    run_id: str
    attempt: int
    """1, 2, 3, ... within the run."""
    started_at: datetime
    tier: TaskTier
    confidence: float
    provider: str
    model: str
    served_model: str | None
    outcome: str
    """ok, cancelled, or what went wrong: rate_limited, overloaded, stream_broken, ...

    `cached` is no attempt: an answer from the cache, for which nothing was sent.
    In a cascade also: agreed (it said the same as the answer that was kept), superseded (another answer was kept),
    judged (it judged an answer), unconfirmed (the run was left before it was decided).
    """
    error: str | None
    fallback_from: str | None
    usage: Usage
    cost_usd: Decimal
    cost_estimated: bool
    baseline_usd: Decimal
    """On the attempt that answered; zero on the others."""
    price_source: str
    ttft_s: float | None
    latency_s: float
    session_id: str
    tags: tuple[str, ...]
    input_price: Decimal | None = None
    """USD per million tokens, as applied: a later change of prices never re-prices history."""
    output_price: Decimal | None = None
    service_tier: str | None = None
    """`batch`, `flex`, `priority`: the tier of service that the provider says it served by; None: the usual one."""
    parent_run_id: str | None = None
    """The run that this one repeats, escalates or is compared with."""
    rating: int | None = None
    """What the user thinks of the answer: 1 good, -1 bad."""
    difficulty: float = 0.0
    """Of the prompt, as it was classified, in logits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of the path that a run took: a model that was skipped, failed, or answered."""

    model: str
    outcome: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteResult:
    """The answer of a run, how it came about, and what it cost."""

    run_id: str
    text: str
    model: str
    served_model: str
    tier: TaskTier
    confidence: float
    reasons: tuple[str, ...]
    path: tuple[Step, ...]
    attempts: tuple[Attempt, ...]
    usage: Usage
    """Of the attempt that answered."""
    finish_reason: str
    cost_usd: Decimal
    """Of the whole run: every attempt, failed ones included."""
    cost_estimated: bool
    session_cost_usd: Decimal
    cap_usd: Decimal | None
    """The session's cap at the time; None: none set."""
    baseline_usd: Decimal
    """What the baseline model would have cost for the answer."""
    baseline_model: str
    ttft_s: float | None
    latency_s: float
    data: Any = None
    """The parsed JSON where a schema was given."""
    notes: tuple[str, ...] = ()
    """What the user should know besides: a cap that is nearly reached, a model stepped down to, stale prices."""

    @property
    def savings_usd(self) -> Decimal:
        """Baseline minus cost: negative where routing cost more than the top model alone."""
        return self.baseline_usd - self.cost_usd

    @property
    def cached(self) -> bool:
        """It came from the cache: nothing was sent."""
        return any(attempt.outcome == "cached" for attempt in self.attempts)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One column of a comparison."""

    label: str
    """What was asked for: a model's id, or a tier."""
    result: RouteResult | None
    error: str = ""
    """Why there is no result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The same prompt, asked of several models at once. Each answer is a run of its own."""

    columns: tuple[Compared, ...]

    @property
    def results(self) -> tuple[RouteResult, ...]:
        return tuple(column.result for column in self.columns if column.result is not None)

    @property
    def cost_usd(self) -> Decimal:
        """Of the runs that answered."""
        return sum((result.cost_usd for result in self.results), ZERO)
