"""Named facts about the structure of a prompt: lengths, lines, options, numbers, code, functions, pasted material."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from llm_magic.classify.request import Request

_OPTION = re.compile(r" ?\(?([a-j])[.)] ?(.*)")
_NUMERIC = re.compile(r"[\s\d.,%$€£/^*+=()×·-]+[a-z°/%]{0,3}[\d^]*\.?\Z")
_LIST_ITEM = re.compile(r"[ \t]*(?:\d+[.)]|[-*•])\s")
_LATEX = re.compile(r"\\[a-z]+|\$[^$\s]")
_NEWLINE = "\n"
_BACKSLASH = "\\"
_CODE_MARKS = ("()", ";\n", "#include")
_ARROW, _TAG = re.compile(r"=[=>]"), re.compile(r"</?\w+>")
_CODE_WORDS = frozenset(["def", "return", "import", "assert", "elif", "const", "void", "select", "lambda"])
_NEGATIONS = frozenset(["not", "except", "least", "never", "false", "incorrect", "neither", "without"])
_COMPARISONS = frozenset(
    ["more", "less", "most", "than", "twice", "half", "each", "every", "per", "total", "percent", "times",
     "remaining", "average"]
)  # fmt: skip
_STATEMENT_MARKS = ("statement 1", "\ni. ", "(i)")
_FUNCTION_NAME = re.compile(r'\bname"?: ?"?([^,{}"]{1,80})"?, ?"?description"?:')
_PARAMETER = re.compile(r'\btype"?: ?"?(?!dict|object)\w')
_LONG_WORD = r"[a-z]{4,}"
_SEVERAL_REQUESTS = r" and |also|then|;|, and"


def describe_structure(
    lowered: str, words: Sequence[str], text_length: int, *, with_details: bool = True
) -> tuple[list[str], list[str]]:
    """Return names of facts in bins: the ones that carry over between kinds of task, and details of one kind.

    lowered: the window of a prompt that has `text_length` characters. The trained weights depend on every name and on
    the order of the names.
    """
    starts = _line_starts(lowered)
    options = [match[2] for start in starts if (match := _OPTION.match(lowered, start))] if len(starts) > 1 else []
    numbers = list(filter(str.isdigit, words))
    facts = _facts(lowered, words, numbers, line_breaks=len(starts) - 1, has_options=bool(options))
    details = _details(lowered, words, numbers, starts, text_length) if with_details else []
    if "__" in lowered:
        facts.append("blank")
    if options:
        mean_length = sum(map(len, options)) / len(options)
        facts.append(f"options {min(len(options), 12)}")
        facts.append(f"length of options {round(2 * math.log2(1 + mean_length))}")
        numeric = sum(bool(_NUMERIC.match(option)) for option in options)
        details.append(f"numeric options {round(4 * numeric / len(options))}")
    else:
        facts.append(f"no options, length {round(math.log2(text_length + 1))}")
        details.append(f"no options, numbers {_bin(len(numbers))}")
    if with_details and (functions := _FUNCTION_NAME.findall(lowered)):
        details += _function_details(lowered, functions)
    return facts, details


def describe_request(request: Request, words: Sequence[str]) -> list[str]:
    """Return names of facts in bins about a request, whose words are given, and about the material around it."""
    asked = request.asked
    lines = request.whole.split(_NEWLINE)
    items = sum(map(bool, map(_LIST_ITEM.match, lines)))
    facts = [
        f"asked words {round(2 * math.log2(len(words) + 1))}",
        f"sentences asked {min(request.sentences_asked, 5)}",
        f"explicit {request.is_explicit}",
        f"questions {_bin(asked.count('?'))}",
        f"commas {_bin(asked.count(','))}",
        f"lines {_bin(len(lines) - 1)}",
        f"items {_bin(items)}",
        f"numbers asked {_bin(sum(map(str.isdigit, words)))}",
        f"context {round(math.log2(len(request.context) + 1))}",
        f"first asked {' '.join(words[:1])}",
        f"first two asked {' '.join(words[:2])}",
        f"ends asked {asked[-1:]}",
    ]
    for kind, size in request.material.items():
        facts += [f"material {kind}", f"{kind} of size {round(math.log2(size + 1))}"]
    if not request.material:
        facts.append("no material")
    elif request.starts_with_material:
        facts.append("starts with material")
    if "name" in request.whole and (functions := len(_FUNCTION_NAME.findall(request.whole))):
        facts += ["functions are defined", f"functions defined {min(functions, 6)}"]
    return facts


def _facts(
    lowered: str, words: Sequence[str], numbers: Sequence[str], *, line_breaks: int, has_options: bool
) -> list[str]:
    word_count = max(1, len(words))
    code = (
        sum(map(lowered.count, _CODE_MARKS))
        + (len(_ARROW.findall(lowered)) if "=" in lowered else 0)
        + (len(_TAG.findall(lowered)) if "<" in lowered else 0)
        + sum(map(_CODE_WORDS.__contains__, words))
    )
    may_have_latex = "$" in lowered or _BACKSLASH in lowered
    body = lowered[: lowered.find("\na.")] if has_options and "\na." in lowered else lowered
    return [
        f"body {round(2 * math.log2(len(body) + 1))}",
        f"lines {round(2 * math.log2(line_breaks + 1))}",
        f"word length {round(4 * sum(map(len, words)) / word_count)}",
        f"numbers per word {round(20 * len(numbers) / word_count)}",
        f"longest number {min(max(map(len, numbers), default=0), 6)}",
        f"questions {_bin(lowered.count('?'))}",
        f"latex {_bin(len(_LATEX.findall(lowered)) if may_have_latex else 0)}",
        f"code {_bin(code)}",
        f"negated {not _NEGATIONS.isdisjoint(words)}",
        f"ends {body.rstrip()[-1:]}",
        f"ends at last {lowered.rstrip()[-1:]}",
        f"first {' '.join(words[:1])}",
        f"first two {' '.join(words[:2])}",
    ]


def _details(
    lowered: str, words: Sequence[str], numbers: Sequence[str], starts: Sequence[int], text_length: int
) -> list[str]:
    has_statements = any(mark in lowered for mark in _STATEMENT_MARKS) or lowered.startswith("i. ")
    list_items = sum(_LIST_ITEM.match(lowered, start) is not None for start in starts)
    return [
        f"length {round(2 * math.log2(text_length + 1))}",
        f"numbers {_bin(len(numbers))}",
        f"comparisons {_bin(sum(map(_COMPARISONS.__contains__, words)))}",
        f"listed {_bin(list_items)}",
        f"different words {round(10 * len(set(words)) / max(1, len(words)))}",
        f"statements {has_statements}",
    ]


def _function_details(lowered: str, functions: Sequence[str]) -> list[str]:
    start = max(lowered.find("name:"), lowered.find('name":'))
    request = lowered[:start]
    request_words = set(re.findall(_LONG_WORD, request))
    definition_words = set(re.findall(_LONG_WORD, lowered[start:]))
    name_words = set(re.findall(_LONG_WORD, " ".join(functions).replace("_", " ")))
    overlap = len(request_words & definition_words) / max(1, len(request_words))
    shared_stems = {word[:5] for word in request_words} & {word[:5] for word in name_words}
    named = len(shared_stems) / max(1, len(name_words))
    group = "several functions" if len(functions) > 1 else "one function"
    return [
        f"functions {min(len(functions), 6)}",
        f"parameters {_bin(len(_PARAMETER.findall(lowered)))}",
        f"overlap {round(5 * overlap)}",
        f"{group}, names asked for {round(4 * named)}",
        f"list {'[' in lowered[max(0, start - 4) : start]}",
        f"{group}, asks for several {bool(re.search(_SEVERAL_REQUESTS, request))}",
        f"{group}, numbers {_bin(len(re.findall(r'[0-9]+', request)))}",
    ]


def _line_starts(text: str) -> list[int]:
    starts, newline = [0], text.find("\n")
    while newline >= 0:
        starts.append(newline + 1)
        newline = text.find("\n", newline + 1)
    return starts


def _bin(count: int) -> int:
    return count if count <= 4 else 3 + round(math.log2(count / 2.0))
