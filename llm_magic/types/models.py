"""Entries of the registry, usage and cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from llm_magic.types.tasks import TaskTier


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
    """For entries kept for minutes, and for an hour if `cache_write_1h` is not stated."""
    cache_write_1h: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    usd: Decimal
    price_source: str
    input_price: Decimal
    """USD per million uncached input tokens, as applied."""
    output_price: Decimal
    """USD per million output tokens, as applied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSpec:
    """One endpoint and its wire. Holds the *names* of environment variables with secrets, never the secrets."""

    name: str
    api: str = "openai"
    """The wire: `anthropic`, `openai`, `local`, or one added by `register_wire`."""
    base_url: str | None = None
    base_url_env: str | None = None
    api_key_env: str | None = None
    concurrency: int = 64
    """Maximum number of requests in flight; further ones are queued."""
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Sent with every request, unless the model's `params` state another value."""
    rejected_params: tuple[str, ...] = ()
    """Parameters that the API rejects: an error in the `params` of its models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    id: str
    provider: str
    tiers: tuple[TaskTier, ...] = ()
    """Tiers for which it is a first choice. Empty: used as a fallback, or by name."""
    context_window: int
    max_output_tokens: int
    fallback_id: str | None = None
    price: Price | None = None
    """None: from the price catalog."""
    api_model: str = ""
    """Its name on the wire; defaults to the id."""
    tokens_per_s: float | None = None
    """Output tokens per second, reasoning included. Estimates what a request that was stopped is billed for."""
    token_ratio: float = 1.0
    """Tokens of its tokenizer per token of o200k_base, rounded upward."""
    max_tokens_param: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    json_mode: Literal["schema", "object", "none"] = "schema"
    """Constraint that the endpoint can put on its output: a JSON Schema, any JSON object, or none."""
    image_tokens: int = 0
    """Maximum input tokens of one image; 0: it can't read images."""
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Sent with every request, e.g. a seed."""
    source: str = ""
    """Source of the figures of this entry."""
    capability: Mapping[TaskTier, float] = field(default_factory=dict[TaskTier, float])
    """By tier, in logits: the chance of a good answer to a prompt of typical difficulty is 1 / (1 + exp(-capability)).
    Empty: derived from `tiers`."""
    capability_source: str = ""
