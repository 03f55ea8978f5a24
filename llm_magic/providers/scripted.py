"""A provider with scripted answers, for tests, documentation, and trials without a key."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass

from llm_magic.errors import ProviderError
from llm_magic.events import TextDelta
from llm_magic.providers.base import Finished, ProviderEvent, ProviderRequest, UsageReport
from llm_magic.types import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer in chunks, then its usage. Without a `finish_reason`, the stream is broken."""

    chunks: tuple[str, ...] = ("A scripted ", "answer.")
    usage: Usage | None = Usage(input_tokens=10, output_tokens=5)
    finish_reason: str | None = "stop"
    other_content: str = ""
    served_model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    error: ProviderError
    chunks: tuple[str, ...] = ()


class ScriptedProvider:
    """Gives the replies in turn and repeats the last one. `requests` lists the requests that it received."""

    def __init__(
        self,
        replies: Iterable[Reply | Failure | str] | Callable[[ProviderRequest], Reply | Failure] = (Reply(),),
        *,
        unavailable: str | None = None,
    ) -> None:
        self.unavailable_reason = unavailable
        self.requests: list[ProviderRequest] = []
        if callable(replies):
            self.reply = replies
        else:
            self.script(*([replies] if isinstance(replies, str) else replies))

    def script(self, *replies: Reply | Failure | str) -> None:
        remaining = [Reply(chunks=(reply,)) if isinstance(reply, str) else reply for reply in replies]
        for reply in remaining:
            if not isinstance(reply, Reply | Failure):  # pyright: ignore[reportUnnecessaryIsInstance] - a test's mistake
                raise TypeError(f"a reply must be a Reply, a Failure or text, not {reply!r}")

        def in_turn(_: ProviderRequest) -> Reply | Failure:
            return remaining.pop(0) if len(remaining) > 1 else remaining[0]

        self.reply = in_turn

    def unavailable(self) -> str | None:
        return self.unavailable_reason

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        self.requests.append(request)
        reply = self.reply(request)
        for chunk in reply.chunks:
            yield TextDelta(text=chunk)
        if isinstance(reply, Failure):
            raise reply.error
        if reply.usage is not None:
            yield UsageReport(usage=reply.usage)
        if reply.finish_reason is not None:
            served = reply.served_model or request.model.api_model
            yield Finished(finish_reason=reply.finish_reason, served_model=served, other_content=reply.other_content)
