"""The measurement of looks and judges on answers whose truth is known."""

from __future__ import annotations

from llm_magic.answers.looks import look_for
from llm_magic.lab.simulate.confirmations import MODEL, Task, decisions, report, tasks
from llm_magic.providers.base import ProviderRequest
from llm_magic.testing import Reply
from llm_magic.types import Confirmation
from tests.support.builders import model, router


def test_every_task_has_a_look_that_its_truth_passes() -> None:
    for task in tasks(100):
        look = look_for(task.prompt)
        assert look is not None, task.prompt
        assert look.passes(task.truth), task.prompt


def test_decisions_tell_right_from_wrong_answers() -> None:
    def reply(request: ProviderRequest) -> Reply:
        return Reply(chunks=("yes" if len(request.messages) > 1 else "63",))

    prompt = "How many minutes are {} hours? Reply with only the number."
    asked = [Task(prompt=prompt.format(1), truth="63"), Task(prompt=prompt.format(2), truth="120")]
    decided = list(decisions(router(model(MODEL), replies=reply), asked))
    assert [(one.confirmation, one.is_right, one.is_accepted) for one in decided] == [
        (Confirmation.NUMBER, True, True),
        (Confirmation.JUDGE, True, True),
        (Confirmation.NUMBER, False, True),
        (Confirmation.JUDGE, False, True),
    ]
    assert "50%" in report(decided)
