"""Notebooks run from the menu, as a person would."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests import loopback

if TYPE_CHECKING:
    from tests.browser.lab import Notebook

ANSWER = loopback.Answer(
    chunks=tuple(
        """## Two ways

A *list comprehension* is the usual one, with `sorted` where order matters:

```python
def squares(n: int) -> list[int]:
    \"\"\"The first n squares.\"\"\"
    return [i**2 for i in range(n) if i != 3]  # 0, 1, 4, 16
```

| way | time | memory |
|:---|---:|---:|
| comprehension | 1.0 s | 80 MB |
| generator | 1.1 s | 1 MB |

The sum is $\\sum_{i=0}^{n-1} i^2 = \\frac{(n-1)n(2n-1)}{6}$, and it costs $5 or $6:

$$\\int_0^n x^2\\,dx = \\frac{n^3}{3}$$

1. one
2. two [with a link](https://example.com/page)

> A quote, ~~struck~~.
""".replace(" ", " \0").split("\0")
    )
)


def test_an_answer_as_a_person_sees_it(opened: Callable[..., Notebook], server: loopback.Server) -> None:
    server.script("claude-opus-4-7", loopback.Fault(status=401, message="invalid x-api-key"))
    server.script("claude-sonnet-4-6", ANSWER)
    notebook = opened(
        "answer.ipynb",
        "%load_ext llm_magic\n%route_budget 0.05",
        "%%route --tier complex\nHow do I compute squares?",
        "%%route --plan\nProve that the square root of 2 is irrational, step by step.",
    )
    notebook.run_all()
    assert notebook.errors() == []
    said = notebook.cell(1).inner_text()
    for part in ("claude-sonnet-4-6", "COMPLEX", "you asked for this tier", "auth failed", "of USD 0.05", "Two ways"):
        assert part in said
    notebook.accessible(".llmr")
    notebook.screenshots("answer")
