"""Separation of what a prompt asks from the material and the remarks around it.

The request decides the tier. Pasted code, data, and logs are material, and other sentences are context.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

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
# Requests in scripts without spaces, in which nothing else tells prose from data.
_LETTER_CUES = ("请", "吗", "翻译", "解释", "ください", "して", "해줘", "알려줘")
_QUOTED = re.compile(r'"((?:[^" ]* ){3,}[^" ]*)"')
_CELL_END = re.compile(r"[,;|\t:=]|$")
_MAX_CELL_WORDS = 4
_QUOTING = re.compile(r"(?<![^\W_])'|'(?![^\W_])")
_MAX_POLITE_WORDS = 8
# "I am" and "we were" begin a statement, though "am" and "were" begin questions.
_SUBJECTS = frozenset(["i", "we"])
_STATED = frozenset(["am", "are", "was", "do", "does", "did", "has"])
WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n")
_COLON = re.compile(r"(?<=[^\W\d]): |: ?(?=\n)|：")
_MAX_ASKING_WORDS, _MAX_ASKING_CHARS = 16, 160
_ENDS = 3
# Requests stand at the ends of a prompt.
_HEAD_CHARS, _TAIL_CHARS = 800, 500
_MIN_PROSE_WORDS = 2
_MAX_LAST_WORDS = 8
_MIN_HEAD_WORDS = 3
_PASTED_PER_REQUEST = 2
_PERSONAL = re.compile(r"\W*(?:i|i'm|i've|we|we're|we've|my|our|ich|wir|mein|unser)\b")
_STATEMENT = re.compile(
    rf"{_PERSONAL.pattern}|\W*(?:there|there's|it|it's|the|a|an|this|these|that|some|he|she|they|es)\b"
)


class _Part(NamedTuple):
    """A sentence or a pasted line. kind: that of the material, or "request", "context", or "quoted"."""

    kind: str
    text: str
    line: int


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
    whole = text
    if "'" in text:
        text = _QUOTING.sub("", text)
    if len(text) > _HEAD_CHARS + _TAIL_CHARS:
        # A word that is cut is dropped; scripts without spaces have none.
        head, tail = text[:_HEAD_CHARS], text[-_TAIL_CHARS:]
        text = f"{head.rpartition(' ')[0] or head}\n{tail.partition(' ')[2] or tail}"
    lines = text.split("\n")
    parts = list(_parts(text, lines))
    material: dict[str, int] = {}
    for part in parts:
        if part.kind in MATERIAL_KINDS:
            material[part.kind] = material.get(part.kind, 0) + len(part.text)
    prose = [part for part in parts if part.kind not in MATERIAL_KINDS]
    asking = _asking(prose, len(lines) - 1)
    asked = [part.text for part in asking]
    context = [part.text for part in prose if part not in asking]
    if not asked:
        asked, context = (context, []) if context else ([text.replace('"', "")], [])
    return Request(
        whole=whole,
        asked="\n".join(asked),
        context="\n".join(context),
        material=material,
        starts_with_material=bool(parts) and parts[0].kind in MATERIAL_KINDS,
        sentences_asked=len(asked),
        is_explicit=any(part.kind == "request" for part in asking),
    )


def _asking(prose: Sequence[_Part], last_line: int) -> Sequence[_Part]:
    """Return the parts that ask for something.

    A text between a short line and the end, or around a quote, is probably pasted: its own requests don't count, unless
    they are so many that it is a list of instructions. Without a request at the ends, a short line without a verb, such
    as "one-line summary", is the request.
    """
    first, last = _short_line(prose, 0), _short_line(prose, last_line)
    if len(first) == len(prose) and not last_line:
        return _requests(prose)
    requests = _requests(_without_pasted(prose))
    for line in (first, last):
        if _requests(line):
            others = [part for part in requests if part not in line]
            if len(others) > max(1, (len(prose) - len(line)) / _PASTED_PER_REQUEST):
                return requests
            if line is last:
                return _requests(line)
            return [*line, *(part for part in others if part is prose[-1] and starts_request(part.text))]
    if requests and requests[-1] is prose[-1] and starts_request(prose[-1].text):
        return requests
    if first and _is_fragment(first[0].text):
        return first
    if last and not _PERSONAL.match(prose[0].text) and _is_fragment(last[0].text):
        return last if len(last[0].text.split()) <= _MAX_LAST_WORDS else requests
    return requests


def _requests(parts: Sequence[_Part]) -> Sequence[_Part]:
    return [part for part in parts if part.kind == "request"]


def _short_line(prose: Sequence[_Part], line: int) -> Sequence[_Part]:
    """Return the unquoted parts of a line, or nothing if the line is long."""
    parts = [part for part in prose if part.line == line and part.kind != "quoted"]
    text = " ".join(part.text for part in parts)
    return parts if len(text) <= _MAX_ASKING_CHARS and len(text.split()) <= _MAX_ASKING_WORDS else []


def _is_fragment(text: str) -> bool:
    return not text.endswith((".", "!", ",")) and not _STATEMENT.match(text)


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


def _without_pasted(prose: Sequence[_Part]) -> Sequence[_Part]:
    """Return the sentences that may be requests. Of a long text with few requests in the middle, these are its ends.

    A long text with many requests is a list of instructions, of which every sentence counts.
    """
    if len(prose) <= 2 * _ENDS:
        return prose
    middle = prose[_ENDS:-_ENDS]
    if len(_requests(middle)) > max(_ENDS, len(middle) / 4):
        return [part._replace(kind="request") for part in prose]
    ends = [*prose[:_ENDS], *prose[-_ENDS:]]
    return ends if _requests(ends) else prose


def _parts(text: str, lines: Sequence[str]) -> Iterator[_Part]:
    phrases = [phrase for phrase in _CUE_PHRASES if phrase in text]
    for number, quoting in enumerate(lines):
        line = quoting.replace('"', "") if '"' in quoting else quoting
        if kind := line_kind(line):
            yield _Part(kind, line, number)
            continue
        quoted: list[str] = _QUOTED.findall(quoting) if line is not quoting else []
        if quoted:
            outside = " ".join(_QUOTED.sub(" ", quoting).replace('"', "").split())
            line, quoted = (outside, quoted) if WORD.search(outside) else (line, [])
        head, tail = _around_colon(line, phrases, is_whole=len(lines) == 1)
        for sentence in filter(None, _sentences(head)):
            yield _Part("request" if is_request(sentence, phrases) else "context", sentence, number)
        if tail:
            for kind, part in _tail_parts(tail):
                yield _Part(kind, part, number)
        for part in quoted:
            yield _Part("quoted", part, number)


def _around_colon(line: str, phrases: Sequence[str], *, is_whole: bool) -> tuple[str, str]:
    """Return what a line says before and behind a colon if it asks before, else the line and an empty text.

    is_whole: the line is the whole prompt.
    """
    colon = _COLON.search(line) if ":" in line or "：" in line else None
    if not colon:
        return line, ""
    head, tail = line[: colon.start()], line[colon.end() :]
    length = len(head.split())
    if length > _MAX_ASKING_WORDS:
        return line, ""
    if not tail or is_request(head, phrases):
        return head, tail
    is_fragment = is_whole and _MIN_HEAD_WORDS <= length < len(tail.split()) and _is_fragment(head)
    return (head, tail) if is_fragment and not any(map(is_request, _sentences(tail))) else (line, "")


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
        yield "quoted", sentence
    yield ("request" if sentences and starts_request(last) else "quoted"), last


def line_kind(line: str) -> str:
    """Return the kind of material that a line is, or "" for prose."""
    if _LOG.match(line):
        return "log"
    if _CODE.match(line) and not line.endswith("?"):
        return "code"
    if not _DATA.match(line) or line.endswith("?") or starts_request(line):
        return ""
    if len(line.split()) > _MAX_CELL_WORDS * len(_CELL_END.findall(line)) or any(map(line.__contains__, _LETTER_CUES)):
        return ""
    return "data" if sum(map(request_words().function.__contains__, line.split())) < _MIN_PROSE_WORDS else ""
