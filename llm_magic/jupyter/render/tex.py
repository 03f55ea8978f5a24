"""TeX that latex2mathml understands, from the TeX that models write."""

from __future__ import annotations

import re

_LENGTH = r"-?\.?\d[\d.]*\s*(?:pt|em|ex|mm|cm|in|pc|bp|mu)"
_WITHOUT_EFFECT = re.compile(r"\\(?:label|require)\s*\{[^{}]*\}|\\(?:nonumber|notag)(?![a-zA-Z])")
_PERCENT = re.compile(r"(?<=\d)%")
_END_OF_ROW = re.compile(rf"\\\\(?:\*(?!\w)|\s*\[\s*(?:{_LENGTH}|\\(?:jot|\w+skip))\s*\])+")
_LAST_EMPTY_CELL = re.compile(r"(?<!\\)&(?=\s*\\end\b)")
_TAG = re.compile(r"\\tag(\*?)\s*\{([^{}]*)\}")
_RULE = re.compile(r"\\(?:top|mid|bottom)rule(?![a-zA-Z])")
_SYNONYM = re.compile(r"\\(arg|dag|ddag|textsc|dashline)(?![a-zA-Z])")
_SYNONYMS = {
    "arg": r"\operatorname{arg}", "dag": r"\dagger", "ddag": r"\ddagger", "textsc": r"\text", "dashline": r"\hdashline",
}  # fmt: skip
_BIG_DELIMITER = re.compile(
    r"(\\[bB]igg?[lmr]?\s*)\\(langle|rangle|[lr]?[vV]ert|[lr]floor|[lr]ceil|[lr]brack|\|)(?![a-zA-Z])"
)
_DELIMITERS = {
    "langle": "⟨", "rangle": "⟩", "vert": "|", "lvert": "|", "rvert": "|", "Vert": "‖", "lVert": "‖", "rVert": "‖",
    "|": "‖", "lfloor": "⌊", "rfloor": "⌋", "lceil": "⌈", "rceil": "⌉", "lbrack": "[", "rbrack": "]",
}  # fmt: skip

_BEGIN_OR_END = re.compile(r"\\(begin|end)\s*\{([^{}]*)\}")
_PLACE = re.compile(r"\s*\[[tbc]\]")
_BRACKET = re.compile(r"\s*\[")
_ALIGNED = (r"\begin{align*}", r"\end{align*}")
_CENTERED = (r"\begin{array}{c}", r"\end{array}")
_BRACE_AT_RIGHT = (r"\left.\begin{array}{ll}", r"\end{array}\right\}")
_NATIVE = (
    "array", "matrix", "pmatrix", "bmatrix", "Bmatrix", "vmatrix", "Vmatrix", "matrix*", "smallmatrix", "cases",
    "split",
)  # fmt: skip
_SUPPORTED = {
    **{name: (rf"\begin{{{name}}}", rf"\end{{{name}}}") for name in _NATIVE},
    **dict.fromkeys(("align", "aligned", "alignat", "alignedat", "flalign", "eqnarray"), _ALIGNED),
    **dict.fromkeys(("align*", "alignat*", "flalign*", "eqnarray*"), _ALIGNED),
    **dict.fromkeys(("gather", "gathered", "multline", "multlined", "subarray", "gather*", "multline*"), _CENTERED),
    **dict.fromkeys(("equation", "equation*", "math", "displaymath", "displaymath*"), ("", "")),
    "darray": (r"\displaystyle\begin{array}", r"\end{array}"),
    "dcases": (r"\begin{cases}", r"\end{cases}"), "rcases": _BRACE_AT_RIGHT, "drcases": _BRACE_AT_RIGHT,
    "pmatrix*": (r"\left(\begin{matrix*}", r"\end{matrix*}\right)"),
    "bmatrix*": (r"\left[\begin{matrix*}", r"\end{matrix*}\right]"),
    "Bmatrix*": (r"\left\{\begin{matrix*}", r"\end{matrix*}\right\}"),
    "vmatrix*": (r"\left|\begin{matrix*}", r"\end{matrix*}\right|"),
    "Vmatrix*": (r"\left\|\begin{matrix*}", r"\end{matrix*}\right\|"),
}  # fmt: skip
"""Environments, and the equivalents that latex2mathml supports. It shows the others as if they were not there."""
_WITH_ARGUMENT = ("alignat", "alignedat", "subarray", "alignat*")
_WITH_COLUMNS = ("array", "darray")
_WITH_PLACE = (*_WITH_COLUMNS, "aligned", "alignedat", "gathered", "split")
_REPEATED_COLUMNS = re.compile(r"\*\s*\{\s*(\d{1,2})\s*\}\s*\{([^{}]*)\}")
_BETWEEN_COLUMNS = re.compile(r"[@!<>]\s*\{(?:[^{}]|\{[^{}]*\})*\}")
_WIDE_COLUMN = re.compile(r"[pmbX](?:\s*\{[^{}]*\})?")

_TEXT = re.compile(r"\\(text(?:bf|it|rm|sf|tt|md|up|normal)?|mbox|hbox|emph)\s*\{")
_MARKUP = re.compile(
    r"\$(?P<math>[^$]*)\$|\\\((?P<inline>.*?)\\\)|\\(?P<char>[%$&#_ ])|(?P<tie>~)"
    r"|(?P<other>\\[a-zA-Z]+\s*\{[^{}]*\}|\\[a-zA-Z]+|\\[{}])|[{}]",
    re.DOTALL,
)
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)


def supported(tex: str) -> str | None:
    """Return equivalent TeX that latex2mathml supports; None if there is none, or if braces do not match."""
    tex = _WITHOUT_EFFECT.sub("", tex.strip())
    if (len(tex) - len(tex.rstrip("\\"))) % 2:  # of a blank at the end, only its backslash is left
        tex = tex[:-1]
    tex = _TAG.sub(lambda tag: rf"\qquad\text{{{tag[2]}}}" if tag[1] else rf"\qquad\text{{({tag[2]})}}", tex)
    tex = _SYNONYM.sub(lambda name: _SYNONYMS[name[1]], tex)
    tex = _BIG_DELIMITER.sub(lambda name: name[1] + _DELIMITERS[name[2]], tex)
    tex = _PERCENT.sub(r"\\%", _RULE.sub(r"\\hline ", tex))
    tex = _LAST_EMPTY_CELL.sub("& {}", _END_OF_ROW.sub(r"\\\\ ", tex))
    plain = _with_plain_texts(tex)
    return None if plain is None else _with_supported_environments(plain)


def _with_plain_texts(tex: str) -> str | None:
    r"""Split texts such as `\text{if $x$}`: latex2mathml shows all marks in a text, and ends it at the first brace."""
    parts: list[str] = []
    position = 0
    while opening := _TEXT.search(tex, position):
        if (end := _end_of_group(tex, opening.end() - 1)) is None:
            return None
        parts += [tex[position : opening.start()], _split_text(opening[1], tex[opening.end() : end - 1])]
        position = end
    return "".join(parts) + tex[position:]


def _end_of_group(tex: str, start: int) -> int | None:
    """Return the position after the brace that closes the one at `start`."""
    depth = 0
    for brace in _BRACE.finditer(tex, start):
        depth += {"{": 1, "}": -1}.get(brace.group(), 0)
        if depth == 0:
            return brace.end()
    return None


def _split_text(command: str, content: str) -> str:
    if not _MARKUP.search(content):
        return rf"\{command}{{{content}}}"
    parts: list[str] = []
    text, position = "", 0
    for mark in _MARKUP.finditer(content):
        text += content[position : mark.start()]
        position = mark.end()
        if mark["char"] is not None or mark["tie"]:
            text += mark["char"] or " "
            continue
        if text:
            parts.append(rf"\{command}{{{text}}}")
        text = ""
        parts.append(mark["math"] or mark["inline"] or mark["other"] or "")
    text += content[position:]
    return "{" + "".join([*parts, rf"\{command}{{{text}}}" if text else ""]) + "}"


def _with_supported_environments(tex: str) -> str | None:
    parts: list[str] = []
    position = 0
    for match in _BEGIN_OR_END.finditer(tex):
        word, name = match.groups()
        if (pair := _SUPPORTED.get(name)) is None:
            return None
        parts += [tex[position : match.start()], pair[word == "end"]]
        position = match.end()
        if word == "end":
            continue
        if name in _WITH_PLACE and (place := _PLACE.match(tex, position)):
            position = place.end()
        if not name.endswith("matrix*") and _BRACKET.match(tex, position):  # not an option
            parts.append("{}")
        if name in (*_WITH_ARGUMENT, *_WITH_COLUMNS):
            start = position + len(tex[position:]) - len(tex[position:].lstrip())
            end = _end_of_group(tex, start) if tex.startswith("{", start) else None
            if end is None:
                return None
            parts.append(_columns(tex[start + 1 : end - 1]) if name in _WITH_COLUMNS else "")
            position = end
    return "".join(parts) + tex[position:]


def _columns(columns: str) -> str:
    """Return the columns of an array without what latex2mathml would show as text, such as `@{}`."""
    columns = _REPEATED_COLUMNS.sub(lambda part: part[2] * int(part[1]), columns)
    columns = _WIDE_COLUMN.sub("l", _BETWEEN_COLUMNS.sub("", columns)).replace(":", "|")
    return "{" + ("".join(mark for mark in columns if mark in "lcr|") or "c") + "}"
