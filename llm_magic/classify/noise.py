"""Removal of what says nothing about the task: sentences about something else, and floods of words."""

from __future__ import annotations

import itertools
import re

from llm_magic.classify.lexicon import request_words, technical_words
from llm_magic.classify.request import SENTENCE_END, WORD, is_request, starts_request

_SENTENCE = re.compile(r"[^.!?\n]*(?:\.(?!\s)[^.!?\n]*)*(?:[.!?]+(?=\s|$)|\n|$)\s*")
_OPENERS = (
    r"i'm|i've|i am|i have|i had|i was|i(?= (?:never|still|just|always|already|only|finally|really|can't|don't|didn't"
    r"|grew|forgot|missed|woke|came|went|left|slept|skipped|spilled|hate|love|feel|hear|smell)\b)|we|we're|we've|my|our"
    r"|there|there's|it's|it is|it has|someone|somebody|everyone|everybody|yesterday|tonight|you would"
)
_STARTS_STATEMENT = re.compile(
    rf"\W*(?:(?:{_OPENERS})|the|a|an|this|that|some|many|most|half|one|two|three|both|all|no|nobody|people)\b"
)
_REMARK = re.compile(rf"(?=(?<!\S)(\S*[^\s,:;(-]) ((?:{_OPENERS})|(?:the|a|an|this|two))\b)")
_ARTICLES = frozenset(["the", "a", "an", "this", "two"])
_AUXILIARIES = frozenset(["is", "are", "was", "were", "has", "have", "had"])
_PAST = re.compile(
    r"\w{2,}ed|ate|became|began|bit|blew|bought|broke|brought|burst|came|caught|drove|fell|flew|forgot|found|froze|gave|got"
    r"|grew|heard|hid|kept|knew|left|lost|made|met|ran|rang|rose|sang|sank|sat|saw|shook|slept|sold|spilt|stole|stood|stuck"
    r"|swam|threw|told|took|tore|went|woke|won|wore|wrote"
)
_THIRD_PERSON = re.compile(r"[a-z]{3,}[^\Ws]s")
_ENDS_AS_VERB = re.compile(r"(?:[^\Ws]s|ed|ing)\Z")
_DEFINITE, _INDEFINITE = frozenset(["the", "this"]), frozenset(["a", "an"])
# Function words that may end a sentence.
_MAY_END = frozenset(["all", "it", "me", "only", "out", "them", "these", "this", "those", "up"])
_SUBJECT_WORDS = 6
_MIN_SPACES_BEFORE = 2
_MIN_OWN_WORDS = 2
_NOT_TALK = re.compile(r"\d|[=(){}\[\]<>_\\$%`|:]|->")
_TALK_CHARS, _TALK_SENTENCES, _MIN_TALK_WORDS = 140, 2, 3
_REPEATED = re.compile(r"\b([^\W\d]{3,}(?:[\s,.;:!-]+[^\W\d]+){0,3}?)(?:[\s,.;:!-]+\1\b){3,}[\s,.;:!-]*")
_AFTER_REQUEST_WORDS = frozenset(
    ["a", "an", "the", "this", "that", "these", "it", "me", "i", "you", "my", "is", "are", "was", "do", "does", "to",
     "how", "what", "if", "for"]
)  # fmt: skip
_BARE_OBJECTS = frozenset(
    ["it", "this", "that", "them", "these", "those", "the", "following", "text", "all", "please", "now"]
)
_MIN_FLOOD_WORDS, _FLOOD_CHARS, _MAX_DISTINCT = 5, 240, 0.7


def drop_talk(text: str) -> str:
    """Remove sentences about something else at both ends, if anything remains.

    Such a sentence asks for nothing, and has no number, no sign of code, and no word that says something about a task.
    It is about the writer or the place, or nothing in the rest refers to it. Nothing is removed if the rest is a
    question that can't be understood alone, such as "Why?".
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
    articles = [match for match in reversed(matches) if match[2] in _ARTICLES]
    starts += [match for match in articles if _is_noun(match[1], text[start : match.end(1)])]
    for match in starts:
        before, tail = text[start : match.end(1)], text[match.start(2) :]
        is_object = match[2] in _ARTICLES and not _is_statement(match[1], tail)
        words = WORD.findall(tail)
        is_short = len(words) <= _MIN_TALK_WORDS or before.count(" ") < _MIN_SPACES_BEFORE
        continues = match[1] in known.function and (match[2] in _ARTICLES or match[1] not in _MAY_END)
        if is_short or is_object or continues:
            continue
        if _is_talk(tail, before):
            return match.end(1)
    return len(text)


def _is_statement(before: str, text: str) -> bool:
    """Return True if a text that begins with an article is probably a sentence, not the object of the word before."""
    article, *words = WORD.findall(text.partition(",")[0])
    if not _AUXILIARIES.isdisjoint(words):
        return True
    subject = list(itertools.takewhile(lambda word: word not in request_words().function, words[:_SUBJECT_WORDS]))
    is_third_person = article in _DEFINITE and any(map(_THIRD_PERSON.fullmatch, subject[1:]))
    return not _ENDS_AS_VERB.search(before) and (is_third_person or any(map(_PAST.fullmatch, subject[1:])))


def _is_noun(word: str, before: str) -> bool:
    """Return True if a word, with which a text ends, is not a command: no verb, or behind an article."""
    return word not in request_words().verbs or not _INDEFINITE.isdisjoint(before.split()[-3:-1])


def _is_talk(sentence: str, rest: str) -> bool:
    has_stop = sentence.rstrip().endswith((".", "!"))
    if not (has_stop or "\n" in sentence) or len(sentence) > _TALK_CHARS:
        return False
    if _NOT_TALK.search(sentence) or is_request(sentence):
        return False
    words, known = WORD.findall(sentence), request_words()
    if len(words) < _MIN_TALK_WORDS or not technical_words().isdisjoint(words) or _needs_context(rest):
        return False
    if known.here.isdisjoint(words) and not _STARTS_STATEMENT.match(sentence):
        return False
    if not has_stop or not known.here.isdisjoint(words):
        return not known.here.isdisjoint(words)
    others = set(WORD.findall(rest))
    return known.referring.isdisjoint(others) and others.isdisjoint(set(words) - known.function)


def _needs_context(request: str) -> bool:
    """Return True if a request can't be understood alone, such as "Why?" or "What is wrong?"."""
    known = request_words()
    own = set(WORD.findall(request)) - known.function - known.asking
    return len(own) < (_MIN_OWN_WORDS if "?" in request else 1) and not _NOT_TALK.search(request)


def drop_floods(text: str) -> str:
    """Remove repeated groups of words, series of commands without an object, and runs of terms before a request."""
    if _has_repetition(text[:_FLOOD_CHARS].split()) or _has_repetition(text[-_FLOOD_CHARS:].split()):
        text = _REPEATED.sub(" ", text).strip() or text
    text = _drop_bare_commands(text)
    start = _end_of_term_run(text)
    return text[start:] if start else text


def _has_repetition(words: list[str]) -> bool:
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
    sentences = SENTENCE_END.split(text[:200])
    bare = 0
    for sentence in sentences:
        words = sentence.strip(" .!?,").split()
        if not words or len(words) > 3 or not starts_request(sentence) or not _BARE_OBJECTS.issuperset(words[1:]):
            break
        bare += 1
    if bare < 2 or bare == len(sentences):
        return text
    rest = text[text.find(sentences[bare], sum(map(len, sentences[:bare]))) :]
    is_task = is_request(rest) or not technical_words().isdisjoint(WORD.findall(rest))
    return rest if is_task else text


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
