"""Runs and comparisons as plain text."""

from __future__ import annotations

from llm_magic.jupyter.render.facts import ComparisonFacts, RunFacts


def run(facts: RunFacts, answer: str) -> str:
    thinking = ["Thinking:", *(f"  {line}" for line in facts.thinking.splitlines()), ""] if facts.thinking else []
    return "\n".join([answer.rstrip(), "", *thinking, *run_lines(facts, with_details=True)]).strip()


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
    columns = [f"{column.name}  [{'; '.join(column.lines)}]\n{column.answer_text}".rstrip() for column in facts.columns]
    return "\n\n".join([*columns, " | ".join(filter(None, (*facts.footer, facts.hint)))])


def printable(text: str) -> str:
    """Remove the control characters that would reach a terminal from a model's text."""
    return "".join(char for char in text if char in "\n\t" or (char >= " " and not "\x7f" <= char <= "\x9f"))
