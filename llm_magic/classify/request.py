"""Separation of what a prompt asks from the material and the remarks around it.

The request decides the tier. Pasted code, data, and logs are material, and other sentences are context.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llm_magic.classify.lexicon import request_words

MATERIAL_KINDS = ("code", "log", "data")

_CODE = re.compile(
    r"(?:def|class|import|from [\w.]+ import|const|let|var|function|public|private|static|fn|package|async"
    r"|return(?! (?:the|a|an|all|it|them|this|only|just|your|one|each|every|exactly|as|valid|json|nothing)\b))\b"
    r".*[(:;={.]|import [\w.]+(?: as \w+)?$|(?:try|else|finally):|except\b.*:|elif\b.*:|while .*:$|for .* in .*:$"
    r"|if .*[:{]$|with .* as .*:$"
    r"|print ?\(|library\(|#include|#!|//|/\*|>>>|\$ |@\w+$|<[/!]?\w+|[})\]]+[;,]?$|\.\w+ ?\{|.*(?:[;{}]|\) ?:)$|.*%>%$"
    r"|(?:select|insert into|create table|alter table|where|group by|order by|having|left join|inner join)\b.*[=(,;*]"
    r"|select .* from |[\w.\[\]]+(?: ?\[.*\])? ?(?:[-+*/|]?=|<-|:=|=>) ?\S|[\w.]+\([^ ]*.*\)$"
)
_LOG = re.compile(
    r"\[?\d{4}-\d\d-\d\d[ t]\d\d:|\[?\d\d:\d\d:\d\d|[a-z]{3} \d\d? \d\d:\d\d:\d\d |traceback|file \S+, line \d+"
    r"|[\w.]*(?:error|exception|warning)(?:\[\w+\])?:|at [\w$.]+\(|(?:info|warn|warning|debug|fatal|passed|failed) \S"
    r"|-{3,}>|(?:epoch|step) \d+|goroutine \d|[a-z]+ err!"
)
_DATA = re.compile(
    r"[{\[]\S.*|[\w .:/%€$+-]*(?:[,;|\t][\w .:/%€$+-]*){2,}$|\|.*\||[\w.-]+: ?\S{1,30}$|[\d.,%: /+-]+$"
    r"|[\w.-]+=\S+$|- [\w.-]+: "
)
_CUE_PHRASES = (
    "?", "？", "please", "pls ", "plz ", "bitte", "can you", "could you", "i need ", "i want ", "i'd like", "i'd love",
    "i have to", "help me", "how to", "show me", "give me", "tell me", "tl;dr", "s'il te plaît", "por favor", "as json",
    "as csv", "as yaml", "as xml", "as a table", "->", "→", "请", "吗", "怎么", "证明", "翻译", "解释", "提取", "设计",
    "教えて", "訳して", "して", "해줘", "알려줘", "방법",
)  # fmt: skip
_QUOTING = re.compile(r"(?<![^\W_])'|'(?![^\W_])")
_MAX_POLITE_WORDS = 8
# "I am" and "we were" begin a statement, though "am" and "were" begin questions.
_SUBJECTS = frozenset(["i", "we"])
_STATED = frozenset(["am", "are", "was", "do", "does", "did", "has"])
WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n")
_COLON = re.compile(r"(?<=[^\W\d]): |: ?(?=\n)|：")
_MAX_ASKING_WORDS = 16
_ENDS = 3
# Requests stand at the ends of a prompt.
_HEAD_CHARS, _TAIL_CHARS = 800, 500
_MIN_PROSE_WORDS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The parts of a prompt in canonical form, without quotes. whole: all of it, with quotes, without floods of words.

    material: `(kind, characters)` of pasted lines. starts_with_material: material stands before the request.
    """

    whole: str
    asked: str
    context: str
    material: dict[str, int]
    starts_with_material: bool
    sentences_asked: int
    is_explicit: bool


def find_request(text: str) -> Request:
    """Separate a prompt in canonical form. If nothing in it looks like a request, all of its prose is the request."""
    whole, text = text, text.replace('"', "")
    if "'" in text:
        text = _QUOTING.sub("", text)
    if len(text) > _HEAD_CHARS + _TAIL_CHARS:
        # A word that is cut is dropped; scripts without spaces have none.
        head, tail = text[:_HEAD_CHARS], text[-_TAIL_CHARS:]
        text = f"{head.rpartition(' ')[0] or head}\n{tail.partition(' ')[2] or tail}"
    material: dict[str, int] = {}
    prose: list[tuple[bool, str]] = []
    kinds: list[str] = []
    for kind, part in _parts(text):
        kinds.append(kind)
        if kind in MATERIAL_KINDS:
            material[kind] = material.get(kind, 0) + len(part)
        else:
            prose.append((kind == "request", part))
    asked = [part for is_request, part in _without_pasted(prose) if is_request]
    context = [part for _, part in prose if part not in asked]
    is_explicit = bool(asked)
    if not asked:
        asked, context = (context, []) if context else ([text], [])
    return Request(
        whole=whole,
        asked="\n".join(asked),
        context="\n".join(context),
        material=material,
        starts_with_material=bool(kinds) and kinds[0] in MATERIAL_KINDS,
        sentences_asked=len(asked),
        is_explicit=is_explicit,
    )


def starts_request(sentence: str) -> bool:
    """Return True if a sentence begins like a request: a command or a question, perhaps behind polite words."""
    known = request_words()
    previous = ""
    for position, match in enumerate(WORD.finditer(sentence)):
        word = match[0]
        if previous in _SUBJECTS and (word in known.verbs or word in _STATED):
            return False
        previous = word
        if word in known.verbs:
            return True
        if word in known.asking and (position == 0 or word not in known.polite):
            return True
        if position > _MAX_POLITE_WORDS or word not in known.polite:
            return False
    return False


def is_request(sentence: str, phrases: Sequence[str] = _CUE_PHRASES) -> bool:
    """Return True if a sentence asks for something. phrases: the ones to look for, if others are known to be absent."""
    return any(map(sentence.__contains__, phrases)) or starts_request(sentence)


def _without_pasted(prose: list[tuple[bool, str]]) -> list[tuple[bool, str]]:
    """Return the sentences that may be requests. Of a long text with few requests in the middle, these are its ends.

    A long text with many requests is a list of instructions, of which every sentence counts.
    """
    if len(prose) <= 2 * _ENDS:
        return prose
    middle = prose[_ENDS:-_ENDS]
    if sum(is_request for is_request, _ in middle) > max(_ENDS, len(middle) / 4):
        return [(True, part) for _, part in prose]
    ends = prose[:_ENDS] + prose[-_ENDS:]
    return ends if any(is_request for is_request, _ in ends) else prose


def _parts(text: str) -> Iterator[tuple[str, str]]:
    """Yield the kind and the text of each part: a material kind for a pasted line, or "request" or "context"."""
    phrases = [phrase for phrase in _CUE_PHRASES if phrase in text]
    for line in text.split("\n"):
        kind = line_kind(line)
        if kind:
            yield kind, line
            continue
        head, tail = line, ""
        if (
            (":" in line or "：" in line)
            and (colon := _COLON.search(line))
            and len(line[: colon.start()].split()) <= _MAX_ASKING_WORDS
        ):
            head, tail = line[: colon.start()], line[colon.end() :]
            if tail and not is_request(head, phrases):
                head, tail = line, ""
        for sentence in _sentences(head):
            if sentence:
                yield ("request" if is_request(sentence, phrases) else "context"), sentence
        if tail:
            yield from _tail_parts(tail)


def _sentences(line: str) -> list[str]:
    has_one = line.isascii() and ". " not in line and "? " not in line and "! " not in line
    return [line] if has_one else SENTENCE_END.split(line)


def _tail_parts(tail: str) -> Iterator[tuple[str, str]]:
    """Yield the parts of what stands behind a request and a colon. Only its last sentence may be a request too."""
    if kind := line_kind(tail):
        yield kind, tail
        return
    *sentences, last = filter(None, _sentences(tail))
    for sentence in sentences:
        yield "context", sentence
    yield ("request" if sentences and starts_request(last) else "context"), last


def line_kind(line: str) -> str:
    """Return the kind of material that a line is, or "" for prose."""
    if _LOG.match(line):
        return "log"
    if _CODE.match(line) and not line.endswith("?"):
        return "code"
    if not _DATA.match(line) or line.endswith("?") or starts_request(line):
        return ""
    return "data" if sum(map(request_words().function.__contains__, line.split())) < _MIN_PROSE_WORDS else ""
