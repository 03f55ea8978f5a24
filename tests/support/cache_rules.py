"""The prompt caches of Claude, GPT and DeepSeek, as their documentation describes them: what a body reads and writes.

Claude: `cache_control` ends a prefix of at least 512 tokens, which is kept for five minutes after its last use. GPT from
5.6 on: `prompt_cache_breakpoint` does, from 1,024 tokens on and for 30 minutes; without `prompt_cache_options`, the whole
prompt is written. DeepSeek: every prompt is kept, and the longest common beginning is read in units of 64 tokens.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from llm_magic.providers import anthropic, caching, openai
from llm_magic.providers.base import ProviderRequest
from llm_magic.testing import FakeClock, Reply
from llm_magic.types import Usage

CHARS_PER_TOKEN = 4
OUTPUT_TOKENS = 20


def tokens_of(text: str) -> int:
    return -(-len(text) // CHARS_PER_TOKEN)


def body_of(request: ProviderRequest) -> dict[str, Any]:
    is_claude = request.model.provider == "anthropic"
    body = anthropic.request_body(request) if is_claude else openai.request_body(request)
    body = caching.for_openai(request, body, None) if request.model.provider == "openai" else body
    return {**body, **body.pop("extra_body", {})}


def parts_of(body: dict[str, Any]) -> list[tuple[str, bool]]:
    """The texts of a prompt in the order in which a model reads them, each with True if a breakpoint ends it."""
    schema = body.get("output_config", {}).get("format") or body.get("response_format")
    parts = [(json.dumps(schema), False)] if schema else []
    for content in [body.get("system", ""), *(message["content"] for message in body["messages"])]:
        if isinstance(content, str):
            parts.append((content, False))
        else:
            parts += [(part["text"], "cache_control" in part or "prompt_cache_breakpoint" in part) for part in content]
    return parts


def shared_chars(text: str, other: str) -> int:
    return next((n for n, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), min(len(text), len(other)))


@dataclass
class PromptCache:
    """The cache of one provider. Replies to the requests of a `ScriptedProvider`, with the usage that it bills."""

    clock: FakeClock
    answer: str = "answer"
    usages: list[Usage] = field(default_factory=list[Usage])
    _kept: dict[str, datetime] = field(default_factory=dict[str, datetime])

    def __call__(self, request: ProviderRequest) -> Reply:
        body = body_of(request)
        usage = self._automatic(body) if request.model.provider == "deepseek" else self._explicit(request, body)
        self.usages.append(usage)
        return Reply(chunks=(self.answer,), usage=usage)

    def _explicit(self, request: ProviderRequest, body: dict[str, Any]) -> Usage:
        is_claude = request.model.provider == "anthropic"
        minimum, lifetime = (512, timedelta(minutes=5)) if is_claude else (1_024, timedelta(minutes=30))
        prefixes, text = list[str](), ""
        for part, is_marked in parts_of(body):
            text += part
            prefixes += [text] if is_marked else []
        if not is_claude and "prompt_cache_options" not in body:
            prefixes.append(text)
        now = self.clock.now()
        cachable = [prefix for prefix in prefixes if tokens_of(prefix) >= minimum]
        hits = [prefix for prefix in cachable if self._kept.get(prefix, now) > now]
        read = tokens_of(max(hits, key=len)) if hits else 0
        written = max(0, tokens_of(cachable[-1]) - read) if cachable else 0
        self._kept |= dict.fromkeys(cachable, now + lifetime)
        return Usage(
            input_tokens=tokens_of(text),
            cached_input_tokens=read,
            cache_write_tokens=written,
            output_tokens=OUTPUT_TOKENS,
        )

    def _automatic(self, body: dict[str, Any]) -> Usage:
        text = "".join(part for part, _ in parts_of(body))
        common = max((shared_chars(text, kept) for kept in self._kept), default=0)
        read = common // CHARS_PER_TOKEN // 64 * 64
        self._kept[text] = self.clock.now()
        return Usage(input_tokens=tokens_of(text), cached_input_tokens=read, output_tokens=OUTPUT_TOKENS)
