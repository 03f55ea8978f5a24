"""Properties of an answer that are visible without executing it: syntax, labels, numbers, and units."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from llm_magic.answers import syntax
from llm_magic.answers.agreement import LONGEST_LABEL, canonical_form, unit_of

LookKind = Literal["code", "data", "label", "number"]

_MAX_LABELS = 30
_MAX_ANSWER_CHARACTERS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The visible property that the answer to a prompt must have.

    language: of code or data, in lower case. labels: the choices in the prompt, in lower case. unit: the one that the
    prompt asks for, or empty.
    """

    kind: LookKind
    language: str = ""
    labels: frozenset[str] = frozenset()
    unit: str = ""

    def passes(self, answer: str) -> bool | None:
        """Return True if the answer has the property, False if it lacks it, None if the answer can't be examined."""
        answer = answer[:_MAX_ANSWER_CHARACTERS]
        match self.kind:
            case "code" | "data":
                return syntax.parses(answer, language=self.language)
            case "label":
                return self._is_listed(answer)
            case "number":
                form = canonical_form(answer)
                if form.kind != "number":
                    return None if form.kind == "text" else False
                return not (form.unit and self.unit) or form.unit == self.unit

    def _is_listed(self, answer: str) -> bool | None:
        form = canonical_form(answer)
        if form.kind == "label" and form.value in self.labels:
            return True
        mentioned = {
            label for label in self.labels if re.search(rf"(?<!\w){re.escape(label)}(?!\w)", answer.casefold())
        }
        if len(mentioned) == 1:
            return True
        return None if mentioned else False


def look_for(prompt: str, system: str | None = None) -> Look | None:
    """Return the look that the answer to a prompt allows; None if nothing can be seen without executing it."""
    asked = f"{system or ''}\n{prompt}".strip()
    if labels := _labels(asked):
        return Look(kind="label", labels=labels)
    if language := _data_language(asked):
        return Look(kind="data", language=language)
    if language := _code_language(asked):
        return Look(kind="code", language=language)
    if (number := _NUMBER.search(asked)) is not None:
        return Look(kind="number", unit=unit_of(number["unit"] or number["only"] or ""))
    return None


_ALTERNATIVES = re.compile(
    r"\b(?:yes or no|true or false|(?P<two>(?:[a-z-]+, )*[a-z-]+,? or [a-z-]+)(?=\s*[?:]))|"
    r"\((?P<listed>[\w' -]{1,25}(?:(?:, ?| ?/ ?|,? or )[\w' -]{1,25})+)\)\s*[:?]",
    re.IGNORECASE,
)
_CHOOSES = re.compile(
    r"\b(?:classif\w+|categor\w+|label\w*|sentiment|intent|topic|tone|which|one of|is (?:it|this|the)|are|tag|pick|"
    r"choose|spam|yes or no|true or false)\b|\A[\w, -]{1,80} or ",
    re.IGNORECASE,
)
_EXPLAINS = re.compile(
    r"\b(?:explain|what(?:'s| is| are| does| do| was)|why|differences?|meaning|compare|should|interpret|describe|"
    r"understand|prove|derive|design|plan|analy[sz]e|evaluate|review)\b",
    re.IGNORECASE,
)
_WRITES_CODE = re.compile(
    r"\b(?:write|give|create|make|generate|implement|turn|rewrite|refactor|fix|convert|plot|draw|replace|complete|add|"
    r"show|build|find|count|remove|drop|sort|group|filter|split|merge|join|vectori[sz]e|parse|read|save|"
    r"how (?:do|can|to|would|could)|function|script|snippet|one-?liner|code|loop|class|decorator|comprehension)\b",
    re.IGNORECASE,
)
_DATA = re.compile(
    r"\b(?:as|in|into|to|valid|→|only) (?:a |an |valid |strict )?(?P<language>json|csv|toml)\b|"
    r"\bwith json\b|\b(?P<object>json) (?:object|array|with)\b",
    re.IGNORECASE,
)
_SQL = re.compile(
    r"\b(?:sql|postgres(?:ql)?|mysql|sqlite|bigquery|duckdb|snowflake)\b|\bselect\b.+\bfrom\b", re.I | re.S
)
_PYTHON = re.compile(
    r"\b(?:python|pandas|numpy|matplotlib|seaborn|plotly|polars|sklearn|scikit-learn|pytorch|pytest|django|flask|fastapi|"
    r"asyncio|pydantic|sqlalchemy|requests|pathlib|data ?frames?|df|dict|jupyter|boxplots?|histograms?|"
    r"(?:list|dict|set) comprehension)\b|^\s*(?:def|class|import|from) \w+|\bpd\.|\bnp\.|\bplt\.",
    re.IGNORECASE | re.MULTILINE,
)
_OTHER_LANGUAGE = re.compile(
    r"\b(?:bash|shell|zsh|powershell|javascript|typescript|java|rust|golang|kotlin|swift|ruby|php|perl|haskell|julia|"
    r"excel|dax|regex|awk|sed|html|css|yaml|latex|dockerfile|docker|git|vscode)\b|\bin (?:c|go|r)\b|c\+\+|c#",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"\bhow (?:many|much) (?P<unit>[a-z]+)|"
    r"\b(?:number only|(?:only|just) (?:with )?the number)(?: in (?P<only>[a-z]+))?",
    re.IGNORECASE,
)


def _labels(asked: str) -> frozenset[str]:
    if _CHOOSES.search(asked) is None or (match := _ALTERNATIVES.search(asked)) is None:
        return frozenset()
    text = match["two"] or match["listed"] or match.group()
    parts = [part.strip(" '\"").casefold() for part in re.split(r",\s*(?:or\s+)?|\s*/\s*|\s+or\s+", text)]
    labels = frozenset(part for part in parts if 0 < len(part) <= LONGEST_LABEL)
    return labels if 2 <= len(labels) <= _MAX_LABELS else frozenset()


def _data_language(asked: str) -> str:
    if _EXPLAINS.search(asked) or (match := _DATA.search(asked)) is None:
        return ""
    return (match["language"] or match["object"] or "json").lower()


def _code_language(asked: str) -> str:
    lines = [line for line in asked.splitlines() if line.strip()]
    question = "\n".join(dict.fromkeys([*lines[:1], *lines[-1:]]))
    if _EXPLAINS.search(question) or _OTHER_LANGUAGE.search(question) or not _WRITES_CODE.search(question):
        return ""
    languages: Iterable[tuple[str, re.Pattern[str]]] = (("sql", _SQL), ("python", _PYTHON))
    return next((name for name, form in languages if form.search(asked) and syntax.can_parse(name)), "")
