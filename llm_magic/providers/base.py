"""The interface between llm_magic and a provider: requests, events, and what a provider class has to implement."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol, runtime_checkable

from llm_magic.events import Progress, TextDelta
from llm_magic.providers.finish_reasons import is_full_context, normalized
from llm_magic.providers.rate_limits import RateLimits
from llm_magic.types import Effort, Message, ModelSpec, ProviderSpec, Schema, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRequest:
    """One attempt, ready to be sent. in_one_piece: without a stream, if the wire can do that.

    in_conversation: the next request begins with this one, so its prefix is worth caching. effort: None sends nothing
    about it. shows_thinking: request a summary of the thinking where that is free. marks_prefix: cache the system
    prompt and the first `prefix_chars` characters of the first message. cache_key: groups requests with the same
    prefix. params: of the wire, for the model at this effort.
    """

    model: ModelSpec
    messages: tuple[Message, ...]
    max_output_tokens: int
    system: str | None = None
    schema: Schema | None = None
    in_conversation: bool = False
    effort: Effort | None = None
    is_brief: bool = False
    shows_thinking: bool = False
    in_one_piece: bool = False
    marks_prefix: bool = False
    prefix_chars: int = 0
    cache_key: str = ""
    service_tier: str | None = None

    @property
    def params(self) -> dict[str, Any]:
        tier = {} if self.service_tier is None else {"service_tier": self.service_tier}
        return self.model.params_at(self.effort, is_brief=self.is_brief, shows_thinking=self.shows_thinking) | tier


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageReport:
    """Tokens so far, as counted by the provider. A later report replaces an earlier one.

    doubt: a contradiction in the report, or a part that is missing, for a note; the cost is then an estimate.
    cost_usd: the cost that the provider states.
    """

    usage: Usage
    final: bool = True
    doubt: str = ""
    cost_usd: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The end of an answer. A stream that ends without it is broken.

    finish_reason: `stop`, `length`, or `refusal`, to which the words of the providers for them are changed. Any other
    word means that the answer is not whole.
    service_tier: `batch`, `flex` or `priority`; None for the usual one. speed: `fast`, or None. region: the region that
    the model ran in (`us`), or None if the price does not depend on it.
    refusal: the category of a refusal and its explanation, in the provider's words. is_full_context: the context window
    was full, by the provider's own word. other_content: the kind of content that is not text, such as `tool calls`.
    """

    finish_reason: str
    served_model: str
    service_tier: str | None = None
    speed: str | None = None
    region: str | None = None
    refusal: str = ""
    other_content: str = ""
    is_full_context: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_full_context", is_full_context(self.finish_reason))
        object.__setattr__(self, "finish_reason", normalized(self.finish_reason))


@dataclass(frozen=True, slots=True)
class RequestSent:
    """The request is about to leave. A provider that sets `announces_sending` yields it first.

    Without it, a request counts as sent, and may be charged, from the moment the stream is started. in_one_piece: the
    provider may generate the answer to its end, and bill it, although the request is canceled. was_written: returns
    True once all of the request may have been written to the connection; a provider can't bill it before. unread_share:
    returns the bytes that had arrived and were not read when the stream was closed, relative to those that were.
    """

    in_one_piece: bool = False
    was_written: Callable[[], bool] = field(default=lambda: True, compare=False)
    unread_share: Callable[[], float] = field(default=lambda: 0.0, compare=False)


@dataclass(frozen=True, slots=True)
class SignOfLife:
    """The stream is alive, without anything to show: a ping, a comment, an empty chunk. It restarts the timeout."""


def thinking(text: str, *, is_summary: bool = False) -> Progress:
    return Progress(message="the model is thinking", done=True, reasoning=text, is_summary=is_summary)


ProviderEvent = RateLimits | RequestSent | SignOfLife | Progress | TextDelta | UsageReport | Finished


class Provider(Protocol):
    """A source of answers: implement `unavailable` and `stream`. Raise only `ProviderError`s.

    To serve models of models.toml, the class must also be callable with a `ProviderSpec` (see `ProviderFactory`) and be
    registered with `llm_magic.register_wire`.
    """

    def unavailable(self) -> str | None:
        """Return why the provider can't be used now, in a few words (`"no OPENAI_API_KEY"`), or None. Sends nothing."""
        ...

    def stream(self, request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        """Send one request, without retries. Closing the generator cancels the request upstream."""
        ...


@runtime_checkable
class MergingProvider(Protocol):
    """A provider that can merge the text deltas that arrive together, which saves CPU time. Optional."""

    def stream_merged(self, request: ProviderRequest) -> AsyncGenerator[ProviderEvent]: ...


@runtime_checkable
class LoadableProvider(Protocol):
    """A provider with something to import, such as an SDK. `load` is optional; it is called in a thread."""

    def load(self) -> None: ...


@runtime_checkable
class PreparedProvider(Protocol):
    """A provider that has something to do before its first request, such as making a client. `prepare` is optional.

    It is awaited before money is held, and its time does not count as the model's.
    """

    async def prepare(self) -> None: ...


@runtime_checkable
class AccountProvider(Protocol):
    """A provider that can tell that its credentials changed. `account` is optional."""

    def account(self) -> object:
        """Return a value that is equal as long as the credentials and the endpoint are the same, but not a secret."""
        ...


@runtime_checkable
class CountingProvider(Protocol):
    """A provider that counts the input tokens of a request without a fee. `count_tokens` is optional."""

    async def count_tokens(self, request: ProviderRequest) -> int:
        """Return the tokens by the provider's own tokenizer. Raises any exception if there is no count."""
        ...


@runtime_checkable
class ClosableProvider(Protocol):
    """A provider with connections to close. `aclose` is optional: called when llm_magic's event loop ends."""

    async def aclose(self) -> None: ...


class ProviderFactory(Protocol):
    """A provider class, or a function that returns a provider for a spec. Connects to nothing yet."""

    def __call__(self, spec: ProviderSpec, /) -> Provider: ...
