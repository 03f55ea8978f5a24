"""Tiers of recorded prompts, derived from their task where it implies one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from llm_magic.lab.data import Labeled, Recorded
from llm_magic.types import TaskTier

PROMPTS_PER_TASK, PROMPTS_PER_SUBJECT = 60, 12

_COMPLEX = {
    "fusion": "agentverse-logicgrid agentverse-mgsm gpqa gsm8k math",
    "routellm": "gsm8k",
    "zeroeval": "crux gsm math-l5",
}
_STANDARD = {"fusion": "human_eval mbpp"}
_BULK = {"fusion": "arc_challenge commonsense_qa natural_qa openbook_qa trivia_qa"}


def tier_of_task(source: str, task: str) -> TaskTier | None:
    """Return the tier that a task implies, or None.

    Mathematics, puzzles and examinations are COMPLEX, short functions STANDARD, look-ups and common sense BULK, calls
    of functions STRUCTURED.
    """
    if source == "bfcl":
        return TaskTier.STRUCTURED
    if task in _COMPLEX.get(source, "").split() or source == "mmlupro" or (source == "routellm" and "mmlu/" in task):
        return TaskTier.COMPLEX
    if task in _STANDARD.get(source, "").split():
        return TaskTier.STANDARD
    return TaskTier.BULK if task in _BULK.get(source, "").split() else None


def prompts_by_task(recorded: Iterable[Recorded]) -> Labeled:
    """Sample prompts of each task that implies a tier, evenly spread over the task. Outcomes are not used."""
    return Labeled.from_rows([row for source in recorded for row in _sample(source)])


def _sample(recorded: Recorded) -> Iterator[tuple[str, TaskTier, str]]:
    totals, seen = Counter(recorded.tasks), Counter[str]()
    for text, task in zip(recorded.prompts, recorded.tasks, strict=True):
        tier = tier_of_task(recorded.source, task)
        wanted = PROMPTS_PER_SUBJECT if task.startswith("mmlu/") else PROMPTS_PER_TASK
        position = seen[task]
        seen[task] += 1
        stride = max(1, totals[task] // wanted)
        if tier is not None and position % stride == 0 and position // stride < wanted:
            yield text, tier, recorded.source
