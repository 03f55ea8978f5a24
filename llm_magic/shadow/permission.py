"""Runs that may be shadowed: their text may be sent to another model."""

from __future__ import annotations

import re

from llm_magic.types import Outcome, Plan, Request, RouteResult

MAX_CHARS = 40_000
"""Longer texts are expensive to send three more times, and slow to search."""


def may_shadow(plan: Plan, result: RouteResult) -> bool:
    """True if an answer may be compared with that of another model.

    A model that the user or a rule has named is the only one that may see the prompt. An answer from the cache, a
    refusal, and an answer that was cut off are not compared.
    """
    request = plan.request
    if request.model is not None or request.last_resort == result.model or result.outcome is not Outcome.OK:
        return False
    return result.finish_reason == "stop" and may_leave(request, result)


def may_leave(request: Request, result: RouteResult) -> bool:
    """True unless a tag, or a match of the pattern in anything that would be sent, forbids it."""
    settings = request.shadowing
    if set(settings.never_tags) & set(request.tags):
        return False
    texts = [*_sent_texts(request), result.text]
    if sum(map(len, texts)) > MAX_CHARS:
        return False
    if not settings.never_regex:
        return True
    pattern = re.compile(settings.never_regex)
    return not any(pattern.search(text) for text in texts)


def _sent_texts(request: Request) -> list[str]:
    attached = [part for attachment in request.attachments for part in (attachment.name, attachment.text)]
    schema = [] if request.schema is None else [request.schema.text]
    return [request.prompt, request.system or "", *attached, *(message.content for message in request.history), *schema]
