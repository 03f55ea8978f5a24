"""Words of a magic's line: quotes, escapes and comments mean the same on every platform."""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from IPython.core.error import UsageError

from llm_magic.errors import any_of

_PREFIX = re.compile(r"--?[A-Za-z][\w-]*=")
_PLAIN = re.compile(r"(?:\\[\s\"']|\S)+")
_ESCAPED = re.compile(r"\\([\s\"'])")
_DOUBLE_QUOTED = re.compile(r'"((?:\\"|[^"])*)"(?=\s|$)')
_DOUBLE_QUOTED_PATH = re.compile(r'"([^"]*)"(?=\s|$)')
_SINGLE_QUOTED = re.compile(r"'((?:\\'|[^'])*)'(?=\s|$)")
_SINGLE_QUOTED_PATH = re.compile(r"'([^']*)'(?=\s|$)")
_CURLY_QUOTED = re.compile(r"(?:“([^“”]*)”|‘([^‘’]*)’)(?=\s|$)")
_DASHED_OPTION = re.compile(r"[–—]+([A-Za-z][\w-]*)(?:=.*)?")
_PLACEHOLDER = re.compile(r"\{\{.*?\}\}(?=\s|$)")
_SHORT_OPTION = re.compile(r"-[A-Za-z][\w-]*(?:=.*)?")
_GENERIC = re.compile(r"[A-Za-z_][\w.]*\[")
LISTED = "MODELS"
"""The metavar of an option whose value is a list with commas: blanks may follow them."""
_OPENING_QUOTES = "\"'“‘"
_JSON = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Word:
    """A word without its quotes. `end`: the position in the line after it; `is_quoted`: it began with a quote."""

    text: str
    end: int
    is_quoted: bool
    is_unclosed: bool = False
    """A quote begins the word, or its value, and is not closed at the end of a word."""


def words_of(line: str, start: int = 0) -> Iterator[Word]:
    r"""Split a line at white space.

    Quotes, also “typographic” ones, group where a word, or the value after `--option=`, begins; elsewhere they are
    text, as in `don't`. A backslash escapes a quote or a blank and is text otherwise, as in `C:\data`. JSON objects and
    {{name}} are one word.
    """
    position = start
    while True:
        while position < len(line) and line[position].isspace():
            position += 1
        if position >= len(line):
            return
        word = _word(line, position)
        yield word
        position = word.end


def _word(line: str, start: int) -> Word:
    prefix = match.group() if (match := _PREFIX.match(line, start)) else ""
    value = start + len(prefix)
    if quoted := _DOUBLE_QUOTED.match(line, value):
        return Word(prefix + quoted.group(1).replace('\\"', '"'), quoted.end(), is_quoted=not prefix)
    if quoted := _SINGLE_QUOTED.match(line, value):
        return Word(prefix + quoted.group(1).replace("\\'", "'"), quoted.end(), is_quoted=not prefix)
    if quoted := _DOUBLE_QUOTED_PATH.match(line, value) or _SINGLE_QUOTED_PATH.match(line, value):
        return Word(prefix + quoted.group(1), quoted.end(), is_quoted=not prefix)
    if quoted := _CURLY_QUOTED.match(line, value):
        return Word(prefix + (quoted.group(1) or quoted.group(2) or ""), quoted.end(), is_quoted=not prefix)
    if placeholder := _PLACEHOLDER.match(line, value):
        return Word(prefix + placeholder.group(), placeholder.end(), is_quoted=False)
    if (end := _end_of_type(line, value)) is not None:
        return Word(line[start:end], end, is_quoted=False)
    if line.startswith("{", value):
        try:
            _, end = _JSON.raw_decode(line, value)
        except ValueError:
            pass
        else:
            return Word(prefix + line[value:end], end, is_quoted=False)
    plain = _PLAIN.match(line, value)
    if plain is None:  # `--option=` at the end, or before a blank
        return Word(prefix, value, is_quoted=False)
    text = prefix + _ESCAPED.sub(r"\1", plain.group())
    return Word(text, plain.end(), is_quoted=False, is_unclosed=line[value] in _OPENING_QUOTES)


def _end_of_type(line: str, start: int) -> int | None:
    """Return the end of a word such as `dict[str, int]`, which has blanks in its brackets; None if it is not one."""
    if _GENERIC.match(line, start) is None:
        return None
    depth = 0
    for position in range(start, len(line)):
        depth += (line[position] == "[") - (line[position] == "]")
        if depth == 0 and line[position].isspace():
            return position
    return len(line) if depth == 0 else None


def split(line: str, magic: Any, *, takes_text: bool) -> tuple[list[str], str]:
    """Split a line into the arguments of a magic and the text after its options, which stays as it was typed.

    takes_text: the rest of the line is a text. If not, the line may end in a comment. `--` ends the options. Raises
    UsageError for an option that the magic does not have, and names the nearest one.
    """
    actions = {name: action for action in magic.parser._actions for name in action.option_strings}
    arguments: list[str] = []
    end = 0
    words = iter(words_of(line))
    for word in words:
        if word.is_quoted and takes_text:
            break
        if not word.is_quoted and word.text == "--":
            end = word.end
            break
        if not takes_text and not word.is_quoted and word.text.startswith("#"):
            return arguments, ""
        name, assigned, _ = word.text.partition("=")
        if not word.is_quoted and (dashed := _DASHED_OPTION.fullmatch(word.text)) and f"--{dashed[1]}" in actions:
            raise UsageError(unknown_option(name, [f"--{dashed[1]}"], text_may_follow=takes_text))
        if word.is_quoted or not is_option(word.text):
            if takes_text:
                break
            arguments.append(word.text)
            continue
        if name not in actions:
            raise UsageError(unknown_option(name, list(actions), text_may_follow=takes_text))
        text, end = word.text, word.end
        if actions[name].nargs is None:
            text, end = _with_value(word, name, actions, words, line)
        elif assigned and actions[name].nargs == 0:
            raise UsageError(f"{name} takes no value: write {name} alone, not {word.text}")
        arguments.append(text)
    return arguments, line[end:].strip()


def _with_value(word: Word, name: str, actions: Mapping[str, Any], words: Iterator[Word], line: str) -> tuple[str, int]:
    """Return `--option=value` and the position after it. Raises UsageError if there is no value, or an invalid one."""
    option = actions[name]
    value: Word | None = dataclasses.replace(word, text=word.text.removeprefix(f"{name}="))
    if "=" not in word.text:
        value = next(words, None)
    if value is None or (not value.is_quoted and "=" not in word.text and value.text.partition("=")[0] in actions):
        raise UsageError(f"{name} needs a value: {name} {option.metavar}")
    if value.is_unclosed:
        typed = line[value.end - len(value.text) :]
        raise UsageError(
            f"{name} {typed}: the quote is not closed at the end of a word. Within quotes, write \\ before one"
        )
    text, end = value.text, value.end
    while option.metavar == LISTED and text.endswith(",") and (more := next(words, None)) is not None:
        text, end = text + more.text, more.end
    _check_value(option, name, text)
    return f"{name}={text}", end


def _check_value(action: Any, name: str, text: str) -> None:
    if action.choices is not None and text not in action.choices:
        near = difflib.get_close_matches(text, action.choices, 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise UsageError(f"invalid {name} {text}: must be {any_of(list(action.choices))}{hint}")
    if action.type is int and not text.isdecimal():
        raise UsageError(f"invalid {name} {text}: must be a number")


def is_option(text: str) -> bool:
    return (text.startswith("--") and text != "--") or _SHORT_OPTION.fullmatch(text) is not None


def unknown_option(name: str, known: list[str], *, text_may_follow: bool) -> str:
    long = [option for option in known if option.startswith("--")]
    if name.startswith(("--", "–", "—")):
        spelled = f"--{name.lower().lstrip('-–—').replace('_', '-')}"
        near = [option for option in long if option == spelled] or difflib.get_close_matches(spelled, long, 3, 0.7)
        near = near or [option for option in long if option.startswith(spelled) or spelled.startswith(option)]
    else:
        near = [option for option in long if option.startswith(f"--{name[1:2].lower()}")]
    hint = f"did you mean {any_of(near)}?" if near else "add ? to the magic for its options"
    text = f" If {name} begins your text, write -- before it" if text_may_follow else ""
    return f"unrecognized arguments: {name} ({hint}{text})"


def parse(magic: Any, line: str) -> Any:
    arguments, _ = split(line, magic, takes_text=False)
    texts = [argument for argument in arguments if not is_option(argument)]
    for action in (action for action in magic.parser._actions if not action.option_strings):
        name = action.metavar or action.dest
        taken, texts = (texts, []) if action.nargs == "*" else (texts[:1], texts[1:])
        if not taken and action.nargs is None:
            raise UsageError(
                f"%{magic.parser.prog} needs a {name}: {any_of(list(action.choices)) if action.choices else name}"
            )
        for text in taken:
            _check_value(action, name, text)
    if texts:
        raise UsageError(f"unrecognized arguments: {' '.join(texts)}")
    return magic.parser.parse_args(arguments)
