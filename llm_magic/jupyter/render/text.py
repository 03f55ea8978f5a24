"""Runs and comparisons as plain text."""

from __future__ import annotations

from collections.abc import Callable

from llm_magic.jupyter.render.facts import ComparisonFacts, RunFacts

MAX_REPEATED_CHARS = 1_000
_EXCERPT_CHARS = 80


def run(facts: RunFacts, answer: str) -> str:
    thinking = ["Thinking:", *(f"  {line}" for line in facts.thinking.splitlines()), ""] if facts.thinking else []
    return "\n".join([answer.rstrip(), "", *thinking, *run_lines(facts, with_details=True)]).strip()


def run_excerpt(facts: RunFacts, answer: str) -> str:
    return "\n".join([_excerpt(answer), *run_lines(facts)]).strip()


def _excerpt(text: str) -> str:
    """Return the text, or the beginning of a long text whose rest is in the HTML of the same output."""
    if len(text) <= 2 * _EXCERPT_CHARS:
        return text.rstrip()
    return f"{' '.join(text[:_EXCERPT_CHARS].split())} …\n(The HTML has all {len(text):,} characters.)"


def run_lines(facts: RunFacts, *, with_details: bool | None = None) -> list[str]:
    """Return the ending of a run, its summary, its path if that is longer than one step, its notes, and its details.

    with_details: None leaves them out unless they matter.
    """
    if not facts.shows_summary:
        return []
    ending = [facts.ending] if facts.ending else []
    path = [f"path: {' → '.join(step.text for step in facts.path)}"] if facts.path else []
    details = facts.details if facts.opens_details or with_details else ()
    return [*ending, " · ".join((*facts.summary, facts.session.text)), *path, *facts.notes, *details]


def comparison(facts: ComparisonFacts) -> str:
    return _comparison(facts, str)


def comparison_excerpt(facts: ComparisonFacts) -> str:
    return _comparison(facts, _excerpt)


def _comparison(facts: ComparisonFacts, text_of: Callable[[str], str]) -> str:
    columns = [
        f"{column.name}  [{'; '.join(column.lines)}]\n{text_of(column.answer_text)}".rstrip()
        for column in facts.columns
    ]
    return "\n\n".join([*columns, " | ".join(filter(None, (*facts.footer, facts.hint)))])


def printable(text: str) -> str:
    """Remove the control characters that would reach a terminal from a model's text."""
    return "".join(char for char in text if char in "\n\t" or (char >= " " and not "\x7f" <= char <= "\x9f"))
