"""Forms of answers that are visible without executing them."""

from __future__ import annotations

import pytest

from llm_magic.answers.looks import Look, look_for
from llm_magic.answers.syntax import can_parse

PYTHON, SQL = Look(kind="code", language="python"), Look(kind="code", language="sql")
JSON, CSV = Look(kind="data", language="json"), Look(kind="data", language="csv")
MOOD = Look(kind="label", labels=frozenset({"positive", "negative", "neutral"}))
MINUTES = Look(kind="number", unit="minute")


@pytest.mark.parametrize(
    ("prompt", "look"),
    [
        ("Write a pandas one-liner that counts rows per day", PYTHON),
        ("how do I sort a DataFrame by two columns", PYTHON),
        ("def mean(xs):\n    return sum(xs) / len(xs)\n\nadd type hints", PYTHON),
        ("get product and price as json from '3 x cable at 4.99'", JSON),
        ("Convert this to CSV: a=1, b=2", CSV),
        ("Sentiment (positive, negative or neutral): the food was cold", MOOD),
        ("Is the tone of this positive, negative or neutral? 'fine'", MOOD),
        ("how many minutes in 2.5 days", MINUTES),
        ("why does list.sort() return None in Python?", None),
        ("Explain this pandas one-liner", None),
        ("Write a bash script that calls python", None),
        ("Write a friendly email to the team", None),
        ("Translate to French: how are you", None),
    ],
)
def test_a_prompt_tells_which_form_its_answer_must_have(prompt: str, look: Look | None) -> None:
    assert look_for(prompt) == look


@pytest.mark.skipif(not can_parse("sql"), reason="needs sqlglot")
def test_sql_is_parsed_if_its_extra_is_installed() -> None:
    assert look_for("Write SQL to find duplicate emails.") == SQL
    assert SQL.passes("```sql\nSELECT email FROM users GROUP BY email HAVING COUNT(*) > 1\n```") is True
    assert SQL.passes("```sql\nSELECT FROM WHERE (\n```") is False


def test_without_its_extra_sql_is_not_examined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert look_for("Write SQL to find duplicate emails.") is None


@pytest.mark.parametrize(
    ("look", "answer", "passes"),
    [
        (PYTHON, "Here:\n```python\nx = [n for n in range(3)]\n```\nDone.", True),
        (PYTHON, "```\nx = 1\n```", True),
        (PYTHON, "```python\ndef f(:\n```", False),
        (PYTHON, "```python\nx = 1\n```\n```python\nprint('a\n```", False),
        (PYTHON, "Use the method sort.", None),
        (PYTHON, "```bash\nls\n```", None),
        (JSON, '{"a": 1}', True),
        (JSON, '```json\n{"a": 1,}\n```', False),
        (JSON, "Here you are: a is 1", False),
        (CSV, "a,b\n1,2", True),
        (CSV, "a,b\n1,2,3", False),
        (MOOD, "**Negative**", True),
        (MOOD, "The sentiment is negative.", True),
        (MOOD, "angry", False),
        (MOOD, "It may be positive, but the second half is negative.", None),
        (MINUTES, "3,600 minutes", True),
        (MINUTES, "3600", True),
        (MINUTES, "60 hours", False),
        (MINUTES, "plenty", False),
    ],
)
def test_an_answer_is_examined_for_the_form(look: Look, answer: str, passes: bool | None) -> None:
    assert look.passes(answer) is passes


def test_code_is_parsed_and_never_executed() -> None:
    assert PYTHON.passes("```python\nraise SystemExit('executed')\n```") is True
