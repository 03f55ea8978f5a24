"""`%route_fix` and `--insert`: the last error sent to a model, and the code of an answer in the next cell."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from llm_magic import BudgetExceeded
from llm_magic.jupyter.run import history
from llm_magic.testing import Reply, ScriptedProvider
from tests.support.builders import router
from tests.support.shell import Shell, loaded

FIXED = "The name is misspelled.\n\n1. Use this:\n\n   ```python\n   price = 3\n   print(price)\n   ```\n"


@pytest.fixture
def scripted() -> ScriptedProvider:
    return ScriptedProvider(lambda _: Reply(chunks=(FIXED,)))


@pytest.fixture
def shell(scripted: ScriptedProvider, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    for name in ("last_value", "last_type", "last_traceback"):
        monkeypatch.delattr(sys, name, raising=False)
    with loaded(router(providers={"cloud": scripted}), scripted) as shell:
        yield shell
    history.clear()


@pytest.fixture
def inserted(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    texts: list[str] = []
    monkeypatch.setattr(shell.shell, "set_next_input", lambda text, replace=False: texts.append(text))
    return texts


def prompt_of(shell: Shell) -> str:
    return shell.scripted.requests[-1].messages[-1].content


def fail(shell: Shell, cell: str) -> None:
    """Run a cell that fails, as a person does: with an entry in the history."""
    assert not shell.shell.run_cell(cell, store_history=True).success


def test_the_last_error_is_sent_with_its_cells_and_the_fixed_cell_is_inserted(
    shell: Shell, inserted: list[str]
) -> None:
    shell.shell.run_cell("def ratio(a, b):\n    return a / b", store_history=True)
    fail(shell, "%precision 3\nratio(1, 0)")
    out = shell.run("%route_fix --tier bulk It must be 0 then: {{name}}.")
    assert "ZeroDivisionError: division by zero (sent with its traceback and 2 cells)" in out
    prompt = prompt_of(shell)
    assert "Cell 1:\n```python\n%precision 3\nratio(1, 0)\n```" in prompt
    assert "Cell 2:\n```python\ndef ratio(a, b):\n    return a / b\n```" in prompt
    assert 'File "cell 2", line 2, in ratio' in prompt
    assert "It must be 0 then: {{name}}." in prompt
    assert "in run_code" not in prompt
    assert inserted == ["price = 3\nprint(price)"]
    assert shell["_route"].text == FIXED


def test_a_syntax_error_is_sent_with_its_cell(shell: Shell, inserted: list[str]) -> None:
    fail(shell, "x = 1\nprint(x")
    shell.run("%route_fix")
    assert "Cell 1:\n```python\nx = 1\nprint(x\n```" in prompt_of(shell)
    assert 'File "cell 1", line 2' in prompt_of(shell)


def test_a_long_traceback_is_cut_in_the_middle_and_has_its_last_frames(shell: Shell, inserted: list[str]) -> None:
    fail(shell, "def down(n):\n    return down(n - 1) if n else 1 / 0\ndown(40)")
    shell.run("%route_fix")
    fail(shell, "raise ValueError('start ' + 'x' * 50_000 + ' end')")
    assert len(prompt_of(shell)) < 5_000
    out = shell.run("%route_fix")
    assert len(out.split(" (sent with")[0]) < 250
    assert len(prompt_of(shell)) < 10_000
    assert "characters left out" in prompt_of(shell)
    assert prompt_of(shell).endswith(" end\n```")


def test_an_error_of_llm_magic_does_not_replace_the_error_of_the_notebook(shell: Shell, inserted: list[str]) -> None:
    fail(shell, "{}['price']")
    shell.fail("%route_fix --bogus")
    shell.router.set_budget(0)
    _, error = shell.fail("%route_fix")
    assert isinstance(error, BudgetExceeded)
    shell.router.set_budget(None)
    shell.run("%route_fix")
    assert "KeyError: 'price'" in prompt_of(shell)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("%route_fix", "there is no error to fix"),
        ("%route_fix --over rows", "%route_fix can't be combined with --over"),
        ("%route --insert --compare strong,cheap hello", "--insert can't be combined with --compare"),
        ("%route --insert --background hello", "--insert can't be combined with --background"),
    ],
)
def test_an_impossible_request_is_an_error_and_sends_nothing(shell: Shell, cell: str, message: str) -> None:
    out, _ = shell.fail(cell)
    assert message in out
    assert shell.scripted.requests == []


@pytest.mark.parametrize("option", ["--plan", "--background"])
def test_a_plan_or_a_background_run_of_a_fix_inserts_nothing(shell: Shell, inserted: list[str], option: str) -> None:
    fail(shell, "1 / 0")
    shell.run(f"%route_fix {option}\n%route_jobs wait")
    assert inserted == []


@pytest.mark.parametrize(
    ("answer", "cell"),
    [
        ("```python\na = 1\n```\nThen:\n~~~py\nb = 2\n~~~\n```bash\nls\n```", ["a = 1\n\nb = 2"]),
        ("```\na = 1\n```", ["a = 1"]),
        ("```Python title=x\na = 1", ["a = 1"]),
        ("```sql\nSELECT 1\n```", []),
        ("No code.", []),
    ],
)
def test_insert_writes_the_python_of_the_answer_into_the_next_cell(
    scripted: ScriptedProvider, shell: Shell, inserted: list[str], answer: str, cell: list[str]
) -> None:
    scripted.script(answer)
    out = shell.run("%%route --insert\nhello")
    assert inserted == cell
    assert ("the answer has no Python code, so no cell was added" in out) is (cell == [])
