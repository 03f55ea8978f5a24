"""Looks and a judge, measured on answers of the embedded model to prompts whose right answer is known.

Run `python -m llm_magic.lab.simulate.confirmations [--tasks N]`. The weights are downloaded if they are missing.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from llm_magic.answers.agreement import SAME_MISTAKE, agree
from llm_magic.answers.looks import look_for
from llm_magic.execute.confirm import JUDGE_PROMPT, accepts
from llm_magic.lab.evaluate.cascades import MIN_CORRECT_SCORE, agreement_probability
from llm_magic.lab.simulate.dataset import shipped_outcomes
from llm_magic.lab.simulate.lineups import LINEUPS
from llm_magic.ledger import Ledger
from llm_magic.plan.acceptance import ASSUMED
from llm_magic.routing import Router
from llm_magic.types import Confirmation, Message

MODEL = "local"
_PRAISE = ("I loved every minute", "What a wonderful meal", "The staff were kind and quick", "It works perfectly")
_BLAME = ("It broke after a day", "The worst service ever", "A boring and far too long film", "I want my money back")
_SPAM = ("Win $1,000 now, click here", "You were selected for a free prize", "Cheap pills, no prescription")
_HAM = ("Lunch at noon tomorrow?", "The meeting moved to room 4", "Here are the minutes of Monday")
_PEOPLE = (("Ana", 31), ("Bo", 45), ("Chen", 27), ("Dora", 62))


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    prompt: str
    truth: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """An answer, and the decision of one confirmation about it. is_accepted: None if it could not be examined."""

    confirmation: Confirmation
    is_right: bool
    is_accepted: bool | None


def tasks(count: int, seed: int = 0) -> list[Task]:
    """Return this number of tasks for each of three kinds of looks: labels, numbers, and data."""
    draw = random.Random(seed)  # noqa: S311 - a sample
    kinds = (list(_labels()), list(_numbers()), list(_data()))
    return [task for kind in kinds for task in draw.sample(kind, min(count, len(kind)))]


def _labels() -> Iterator[Task]:
    for texts, truth in ((_PRAISE, "positive"), (_BLAME, "negative")):
        for text in texts:
            yield Task(prompt=f"Is the sentiment positive or negative? Reply with one word: {text}.", truth=truth)
    for texts, truth in ((_SPAM, "spam"), (_HAM, "ham")):
        for text in texts:
            yield Task(prompt=f"Classify the message (spam, ham): {text}", truth=truth)


def _numbers() -> Iterator[Task]:
    for hours in range(2, 9):
        yield Task(prompt=f"How many minutes are {hours} hours? Reply with only the number.", truth=str(60 * hours))
    for one, other in itertools.product((3, 12, 25), (4, 9, 17)):
        yield Task(
            prompt=f"How many apples are {one} apples and {other} apples? Only the number.", truth=f"{one + other}"
        )


def _data() -> Iterator[Task]:
    for (name, age), verb in itertools.product(_PEOPLE, ("is", "turned", "will soon not be younger than")):
        prompt = f'Extract name and age as JSON with the keys "name" and "age": {name} {verb} {age}.'
        yield Task(prompt=prompt, truth=f'{{"name": "{name}", "age": {age}}}')


def decisions(router: Router, tasks: Iterable[Task]) -> Iterator[Decided]:
    """Ask the embedded model, look at its answer, and let it judge the answer."""
    for task in tasks:
        answer = router.route_sync(task.prompt, model=MODEL, max_output_tokens=60).text
        is_right = agree(answer, task.truth)
        look = look_for(task.prompt)
        if look is not None:
            yield Decided(confirmation=Confirmation(look.kind), is_right=is_right, is_accepted=look.passes(answer))
        history = [Message(role="user", content=task.prompt), Message(role="assistant", content=answer)]
        reply = router.route_sync(JUDGE_PROMPT, model=MODEL, history=history, max_output_tokens=8).text
        yield Decided(confirmation=Confirmation.JUDGE, is_right=is_right, is_accepted=accepts(reply))


def report(decided: Sequence[Decided]) -> str:
    lines = [f"{'':8}  answers  right  accepted of right  of wrong  accepted but wrong  assumed"]
    for confirmation in sorted({one.confirmation for one in decided}):
        own = [one for one in decided if one.confirmation is confirmation]
        right, wrong = ([one for one in own if one.is_right is is_right] for is_right in (True, False))
        accepted = [one for one in own if one.is_accepted]
        assumed = ASSUMED[confirmation]
        lines.append(
            f"{confirmation:8}  {len(own):7}  {_share(len(right), len(own)):>5}  {_accepted(right):>17}  "
            f"{_accepted(wrong):>8}  {_share(sum(not one.is_right for one in accepted), len(accepted)):>18}  "
            f"{assumed.right:.0%}, {assumed.wrong:.0%}"
        )
    return "\n".join(lines)


def recorded_report() -> str:
    """Return how often two models of different providers agree, and how often they do so on a wrong answer.

    The records hold scores: two right answers are the same in SAME_RIGHT of the cases, two wrong ones in SAME_MISTAKE.
    """
    lines = [f"{'':12}  pairs  right  agreed  agreed but wrong (of pairs)"]
    for source, outcomes in shipped_outcomes().items():
        members = [member for member in LINEUPS[source].members if member.role != "top"]
        rows: list[tuple[float, float, float]] = []
        for one, other in itertools.combinations(members, 2):
            if one.provider == other.provider:
                continue
            first, second = (outcomes.scores[:, outcomes.column(member.model)] for member in (one, other))
            same = agreement_probability(first, second, SAME_MISTAKE)
            wrong = same[first < MIN_CORRECT_SCORE]
            rows.append((float(first.mean()), float(same.mean()), float(wrong.sum()) / float(same.sum())))
        right, agreed, wrong = np.mean(rows, axis=0)
        shares = [share for _, _, share in rows]
        lines.append(
            f"{source:12}  {len(rows):5}  {right:>5.0%}  {agreed:>6.0%}  "
            f"{wrong:.0%} ({min(shares):.0%} to {max(shares):.0%})"
        )
    return "\n".join(lines)


def _accepted(answers: Sequence[Decided]) -> str:
    return _share(sum(one.is_accepted is True for one in answers), len(answers))


def _share(count: int, total: int) -> str:
    return f"{count / total:.0%}" if total else "-"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=12, help="Tasks of each kind (default: %(default)s)")
    args = parser.parse_args(arguments)
    sys.stdout.write(f"Agreement on recorded outcomes:\n{recorded_report()}\n\nThe embedded model:\n")
    router = Router(ledger=Ledger(":memory:"))
    sys.stdout.write(report(list(decisions(router, tasks(args.tasks)))) + "\n")


if __name__ == "__main__":
    main()
