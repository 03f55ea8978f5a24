"""Prefixes that prompts share, such as attachments and system prompts, and what providers' caches hold of them."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto

from llm_magic.types import Attachment, ModelSpec, Request, Usage

MIN_TOKENS = {"breakpoints": 512, "explicit": 1_024, "automatic": 1_024, "none": 0, "": 0}
LIFETIME = {
    "breakpoints": timedelta(minutes=5),
    "explicit": timedelta(minutes=30),
    "automatic": timedelta(minutes=30),
    "none": timedelta(minutes=5),
    "": timedelta(minutes=5),
}
"""By `prompt_cache`: the length from which a prefix is cached, and the time for which providers promise to keep it.
DeepSeek promises none, and keeps prefixes for hours."""
_REMEMBERED = timedelta(minutes=30)
_MAX_PREFIXES = 1_000


class Seen(Enum):
    NEVER = auto()
    SENT = auto()
    CACHED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix:
    """The beginning of a prompt that others may share. text: of the first message."""

    digest: str
    text: str
    system: str
    attachments: tuple[Attachment, ...]


def prefix_of(request: Request) -> Prefix | None:
    """Return the shared part of a prompt; None if it has none, or if it continues a conversation."""
    shared = request.prompt[: request.shared_chars or 0]
    if request.history or request.thread is not None or not (request.attachments or request.system or shared):
        return None
    blocks = [*(attachment.block for attachment in request.attachments), *([shared] if shared else [])]
    digest = hashlib.sha256()
    schema = "" if request.schema is None else request.schema.digest
    for text in (request.system or "", schema, *blocks):
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    for attachment in request.attachments:
        digest.update(b"" if attachment.image is None else attachment.image.data)
    return Prefix(
        digest=digest.hexdigest(),
        text="\n\n".join(blocks),
        system=request.system or "",
        attachments=request.attachments,
    )


class Prefixes:
    """Memory of the prefixes that were sent. Any thread may call any method."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sent: dict[str, datetime] = {}
        self._cached: dict[tuple[str, str], datetime] = {}

    def seen(self, model: ModelSpec, digest: str, now: datetime) -> Seen:
        with self._lock:
            cached = self._cached.get((model.id, digest))
            sent = self._sent.get(digest)
        if cached is not None and now - cached <= LIFETIME[model.prompt_cache]:
            return Seen.CACHED
        return Seen.SENT if sent is not None and now - sent <= _REMEMBERED else Seen.NEVER

    def note(self, model: ModelSpec, digest: str, usage: Usage, now: datetime) -> None:
        with self._lock:
            for moments in (self._sent, self._cached):
                if len(moments) >= _MAX_PREFIXES:
                    moments.clear()
            self._sent[digest] = now
            if usage.cache_write_tokens or usage.cached_input_tokens or model.prompt_cache == "automatic":
                self._cached[model.id, digest] = now
