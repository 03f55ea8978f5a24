"""The one seam to the models: what a provider is given, and what it gives back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from llm_magic.events import Progress, TextDelta
from llm_magic.types import Message, ModelSpec, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRequest:
    """One attempt, ready to be sent."""

    model: ModelSpec
    messages: tuple[Message, ...]
    max_output_tokens: int
    system: str | None = None
    schema: Mapping[str, Any] | None = None
    goes_on: bool = False
    """It is of a conversation: the next request begins with this one, so that it is worth caching."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageReport:
    """Tokens as the provider counts them so far. The last one counts; it is `final` when the provider says so."""

    usage: Usage
    final: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The model said that it is done. A stream that ends without this is a broken one."""

    finish_reason: str
    served_model: str
    service_tier: str | None = None
    """`batch`, `flex`, `priority`: where the provider says so and it is not the usual one."""


def thinking(text: str) -> Progress:
    """Tokens come that are billed and not shown: a sign of life."""
    return Progress(message="the model is thinking", done=True, unseen=text)


ProviderEvent = Progress | TextDelta | UsageReport | Finished


class Provider(Protocol):
    """Anything that can answer. Implementations raise only `ProviderError`s, with the cause chained."""

    def unavailable(self) -> str | None:
        """Why it can't be used now, in a few words (`"no OPENAI_API_KEY"`), or None. Sends nothing."""
        ...

    def stream(self, request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        """Send one request, without retries. Closing the generator cancels it upstream."""
        ...
