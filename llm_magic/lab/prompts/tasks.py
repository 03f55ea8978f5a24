"""The tier of recorded prompts, by their task: mathematics, programs, puzzles and what students are examined in is
COMPLEX, look-ups and common sense BULK, function calls STRUCTURED. Other tasks do not tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from llm_magic.lab.evaluate.data import Labelled, Recorded
from llm_magic.types import TaskTier

MANY, FEW = 60, 12
"""Prompts of a task that are taken, and of one of MMLU's many subjects."""

_COMPLEX = {
    "fusion": "agentverse-logicgrid agentverse-mgsm gpqa gsm8k human_eval math mbpp",
    "routellm": "gsm8k",
    "zeroeval": "crux gsm math-l5",
}
_BULK = {"fusion": "arc_challenge commonsense_qa natural_qa openbook_qa trivia_qa"}


def tier_of(source: str, task: str) -> TaskTier | None:
    """The tier, or None where the task does not tell."""
    if source == "bfcl":
        return TaskTier.STRUCTURED
    if task in _COMPLEX.get(source, "").split() or source == "mmlupro" or (source == "routellm" and "mmlu/" in task):
        return TaskTier.COMPLEX
    return TaskTier.BULK if task in _BULK.get(source, "").split() else None


def prompts_by_task(recorded: Iterable[Recorded]) -> Labelled:
    """Some prompts of each task that tells their tier, spread evenly over it. Their outcomes are not looked at."""
    rows = [row for each in recorded for row in _some(each)]
    return Labelled(
        prompts=tuple(text for text, _, _ in rows),
        tiers=tuple(tier for _, tier, _ in rows),
        sources=tuple(source for _, _, source in rows),
    )


def _some(recorded: Recorded) -> Iterator[tuple[str, TaskTier, str]]:
    whole, seen = Counter(recorded.tasks), Counter[str]()
    for text, task in zip(recorded.prompts, recorded.tasks, strict=True):
        tier = tier_of(recorded.source, task)
        wanted = FEW if task.startswith("mmlu/") else MANY
        place = seen[task]
        seen[task] += 1
        step = max(1, whole[task] // wanted)
        if tier is not None and place % step == 0 and place // step < wanted:
            yield text, tier, recorded.source
