"""Separation of what a prompt asks from the material and the remarks around it.

The request decides the tier. Pasted code, data, and logs are material, and other sentences are context.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llm_magic.classify.lexicon import request_words, technical_words

MATERIAL_KINDS = ("code", "log", "data")

_CODE = re.compile(
    r"(?:def|class|import|from [\w.]+ import|const|let|var|function|public|private|static|fn|package|async|return)\b"
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
    "?", "？", "please", "pls ", "plz ", "bitte", "can you", "could you", "i need", "i want", "i'd like", "i'd love",
    "i have to", "help me", "how to", "show me", "give me", "tell me", "tl;dr", "s'il te plaît", "por favor", "as json",
    "as csv", "as yaml", "as xml", "as a table", "->", "→", "请", "吗", "怎么", "证明", "翻译", "解释", "提取", "设计",
    "教えて", "訳して", "して", "해줘", "알려줘", "방법",
)  # fmt: skip
_QUOTING = re.compile(r"(?<![^\W_])'|'(?![^\W_])")
_MAX_POLITE_WORDS = 8
_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")
_SENTENCE = re.compile(r"[^.!?\n]*(?:\.(?!\s)[^.!?\n]*)*(?:[.!?]+(?=\s|$)|\n|$)\s*")
_OPENERS = (
    r"i'm|i've|i am|i have|i had|i was|i(?= (?:never|still|just|always|already|only|finally|really|can't|don't|didn't"
    r"|grew|forgot|missed|woke|came|went|left|slept|skipped|spilled|hate|love|feel|hear|smell)\b)|we|we're|we've|my|our"
    r"|there|there's|it's|it is|it has|someone|somebody|everyone|everybody|yesterday|tonight|you would"
)
_REMARK = re.compile(rf"(?=\b([^\W\d_]+) ((?:{_OPENERS})|(?:the|a|an|this|two))\b)")
_ARTICLES = frozenset(["the", "a", "an", "this", "two"])
_AUXILIARIES = frozenset(["is", "are", "was", "were", "has", "have", "had"])
_MIN_WORDS_BEFORE = 3
_NOT_TALK = re.compile(r"\d|[=(){}\[\]<>_\\$%`|:]|->")
_TALK_CHARS, _TALK_SENTENCES, _MIN_TALK_WORDS = 140, 2, 3
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n")
_COLON = re.compile(r"(?<=[^\W\d]): |: ?(?=\n)|：")
_REPEATED = re.compile(r"\b([^\W\d]{3,}(?:[\s,.;:!-]+[^\W\d]+){0,3}?)(?:[\s,.;:!-]+\1\b){3,}[\s,.;:!-]*")
_AFTER_REQUEST_WORDS = frozenset(
    ["a", "an", "the", "this", "that", "these", "it", "me", "i", "you", "my", "is", "are", "was", "do", "does", "to",
     "how", "what", "if", "for"]
)  # fmt: skip
_BARE_OBJECTS = frozenset(
    ["it", "this", "that", "them", "these", "those", "the", "following", "text", "all", "please", "now"]
)
_MAX_ASKING_WORDS = 16
_MIN_FLOOD_WORDS, _FLOOD_CHARS, _MAX_DISTINCT = 5, 240, 0.7
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
    for position, match in enumerate(_WORD.finditer(sentence)):
        word = match[0]
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


def drop_talk(text: str) -> str:
    """Remove sentences about something else at both ends, if anything remains.

    Such a sentence asks for nothing, and has no number, no sign of code, and no word that says something about a task.
    It is about the writer or the place, or nothing in the rest refers to it.
    """
    sentences = [match for match in _SENTENCE.finditer(text) if match[0].strip()]
    first, last = 0, len(sentences) - 1
    if last < 0:
        return text
    while first < min(last, _TALK_SENTENCES) and _is_talk(sentences[first][0], text[sentences[first].end() :]):
        first += 1
    lowest = max(first, last - _TALK_SENTENCES)
    while last > lowest and _is_talk(sentences[last][0], text[: sentences[last].start()]):
        last -= 1
    start, end = sentences[first].start(), sentences[last].end()
    if last == len(sentences) - 1:
        end = _end_before_talk(text, sentences[last].start())
    return text[start:end].strip() if first or end < sentences[-1].end() else text


def _end_before_talk(text: str, start: int) -> int:
    """Return the position before a remark that follows a last sentence without a full stop, or the end."""
    known = request_words()
    if not text.endswith((".", "!")):
        return len(text)
    matches = list(_REMARK.finditer(text, start))
    starts = [match for match in matches if match[2] not in _ARTICLES]
    # An article may also begin the object of the request, as in "draft the agenda".
    starts += [match for match in reversed(matches) if match[2] in _ARTICLES and match[1] not in known.verbs]
    for match in starts:
        before, tail = text[start : match.end(1)], text[match.start(2) :]
        words = _WORD.findall(tail)
        is_short = len(words) <= _MIN_TALK_WORDS or before.count(" ") < _MIN_WORDS_BEFORE
        if is_short or match[1] in known.function or (match[2] in _ARTICLES and _AUXILIARIES.isdisjoint(words)):
            continue
        if _is_talk(tail, before):
            return match.end(1)
    return len(text)


def _is_talk(sentence: str, rest: str) -> bool:
    has_stop = sentence.rstrip().endswith((".", "!"))
    if not (has_stop or "\n" in sentence) or len(sentence) > _TALK_CHARS:
        return False
    if _NOT_TALK.search(sentence) or is_request(sentence):
        return False
    words, known = _WORD.findall(sentence), request_words()
    if len(words) < _MIN_TALK_WORDS or not technical_words().isdisjoint(words):
        return False
    if not has_stop or not known.here.isdisjoint(words):
        return not known.here.isdisjoint(words)
    others = set(_WORD.findall(rest))
    return known.referring.isdisjoint(others) and others.isdisjoint(set(words) - known.function)


def drop_floods(text: str) -> str:
    """Remove repeated groups of words, series of commands without an object, and runs of terms before a request."""
    if _has_repetition(text[:_FLOOD_CHARS].split()) or _has_repetition(text[-_FLOOD_CHARS:].split()):
        text = _REPEATED.sub(" ", text).strip() or text
    text = _drop_bare_commands(text)
    start = _end_of_term_run(text)
    return text[start:] if start else text


def _has_repetition(words: list[str]) -> bool:
    """Return True if a group of up to four words occurs four times in a row."""
    if len(set(words)) > len(words) * _MAX_DISTINCT:
        return False
    for period in range(1, 5):
        run = 0
        for word, later in zip(words, words[period:], strict=False):
            run = run + 1 if word == later else 0
            if run >= 3 * period:
                return True
    return False


def _drop_bare_commands(text: str) -> str:
    sentences = _SENTENCE_END.split(text[:200])
    bare = 0
    for sentence in sentences:
        words = sentence.strip(" .!?,").split()
        if not words or len(words) > 3 or not starts_request(sentence) or not _BARE_OBJECTS.issuperset(words[1:]):
            break
        bare += 1
    if bare < 2 or bare == len(sentences):
        return text
    rest = text[text.find(sentences[bare], sum(map(len, sentences[:bare]))) :]
    return rest if is_request(rest) else text


def _end_of_term_run(text: str) -> int:
    """Return the position after a run of words without any function word that a request follows, or 0."""
    known = request_words()
    line = text[:1_000].partition("\n")[0]
    if not line.isascii():
        return 0
    for count, match in enumerate(re.finditer(r"[a-z]+", line)):
        word = match[0]
        if count >= _MIN_FLOOD_WORDS and (word in known.verbs or word in known.asking):
            following = line[match.end() : match.end() + 20].split()
            if following and following[0] in _AFTER_REQUEST_WORDS:
                return match.start()
        if word in known.function:
            return 0
    return 0


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
    return [line] if has_one else _SENTENCE_END.split(line)


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
