from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from llm_magic.types.efforts import Effort, EffortLevels, merged_params
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
class LongPrompt:
    """Factors on a price for the whole of a prompt of more than `above_tokens`."""

    above_tokens: int
    input_factor: Decimal
    output_factor: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """USD per million tokens, as stated by a registry file: the list price, without surcharges of a region.

    An unstated `cache_write_1h` is `cache_write`; the other cache prices, if unstated, are the input price: never
    cheaper than what will be billed. request: USD for each request, in addition. factors: on the whole price, by
    service tier or speed (`priority`, `fast`). source: origin and date of the price.
    """

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None
    cache_write_1h: Decimal | None = None
    request: Decimal | None = None
    long_prompt: LongPrompt | None = None
    factors: Mapping[str, Decimal] = field(default_factory=dict[str, Decimal])
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Cost in USD, and the applied prices in USD per million uncached input tokens and output tokens."""

    usd: Decimal
    price_source: str
    input_price: Decimal
    output_price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSpec:
    """One endpoint and its wire. Holds the *names* of environment variables with secrets, never the secrets.

    api: the wire, `anthropic`, `openai`, `local`, or one added by `register_wire`. concurrency: requests in flight,
    beyond which requests are queued. params: sent with every request; those of a model take precedence.
    """

    name: str
    api: str = "openai"
    base_url: str | None = None
    base_url_env: str | None = None
    api_key_env: str | None = None
    concurrency: int = 64
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    rejected_params: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A model of the registry.

    tiers: those for which it is a first choice; without any, it is a fallback, or asked by name. price: None takes
    the price catalog. api_model: defaults to the id. token_ratio: tokens of its tokenizer per token of o200k_base,
    rounded upward. json_mode: the constraint that the endpoint can put on its output. image_tokens: maximum input
    tokens of one image; 0 if it can't read images.
    """

    id: str
    provider: str
    tiers: tuple[TaskTier, ...] = ()
    context_window: int
    max_output_tokens: int
    max_input_tokens: int | None = None
    """The endpoint's limit on a prompt, if it is below the context window."""
    fallback_id: str | None = None
    price: Price | None = None
    api_model: str = ""
    tokens_per_s: float | None = None
    """Includes reasoning. Estimates what a request that was stopped is billed for."""
    token_ratio: float = 1.0
    max_tokens_param: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    json_mode: Literal["schema", "object", "none"] = "schema"
    image_tokens: int = 0
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    source: str = ""
    capability: Mapping[TaskTier, float] = field(default_factory=dict[TaskTier, float])
    """By tier, in logits: the chance of a good answer to a prompt of typical difficulty is 1 / (1 + exp(-capability)).
    Empty: assumed by name, size or tiers."""
    capability_source: str = ""
    capability_width: Mapping[TaskTier, float] = field(default_factory=dict[TaskTier, float])
    """By tier, the standard deviation of what was learned about the capability, in logits."""
    capability_margin: Mapping[TaskTier, float] = field(default_factory=dict[TaskTier, float])
    """By tier, in logits: the model leads in place of the best one only if it is good enough with this much less."""
    endpoint: ProviderSpec | None = field(default=None, repr=False)
    """Set by the registry, for the surcharges of regional endpoints."""
    prompt_cache: Literal["", "none", "automatic", "breakpoints", "explicit"] = ""
    """Prompt caching of the endpoint: none, by itself, at marked prefixes, or by itself unless told otherwise."""
    effort: EffortLevels | None = None
    """None: the model has no levels of effort, or they are unknown."""
    brief: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Sent with prompts that need a short answer, in the tiers STRUCTURED and BULK."""
    summary: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Sent for answers that are watched, so that a summary of the thinking arrives. It must not cost more."""

    @property
    def input_limit(self) -> int:
        return min(self.max_input_tokens or self.context_window, self.context_window)

    def output_space(self, input_tokens: int) -> int:
        """Return the tokens that a prompt leaves for the answer; zero or less if it is too long."""
        return self.context_window - input_tokens if input_tokens <= self.input_limit else 0

    def params_at(
        self, effort: Effort | None, *, is_brief: bool = False, shows_thinking: bool = False
    ) -> dict[str, Any]:
        """Return the parameters to send. Those of `params` win over those of an effort."""
        sent = (dict(self.summary) if shows_thinking else {}) | (dict(self.brief) if is_brief else {})
        if effort is not None and self.effort is not None:
            sent |= self.effort.params[effort]
        return merged_params(sent, self.params)
