"""Many outputs in one page: what each brings holds for itself alone, and is no more than it needs."""

from __future__ import annotations

import re
from decimal import Decimal

from llm_magic.jupyter import panel
from llm_magic.jupyter.render import bundles, tables
from llm_magic.jupyter.render.run_state import RunState
from llm_magic.jupyter.run import history
from llm_magic.testing import Reply
from tests.support.builders import router

_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)


def run(prompt: str) -> RunState:
    ours = router(replies=[Reply(chunks=(f"You said {prompt}.",))])
    state = RunState(cap_usd=Decimal(5))
    request = ours.request(prompt, tier="bulk")
    for event in ours.stream_sync(request):
        state.apply(event)
    history.add(request, state)
    return state


def outputs() -> dict[str, str]:
    """One of every kind that is styled, and a second answer."""
    history.clear()
    ours, states = router(), [run("one"), run("two")]
    return {
        "answer": bundles.runs({"": states[0]})["text/html"],
        "another": bundles.runs({"": states[1]})["text/html"],
        "plan": bundles.plan(ours.plan("hello"))["text/html"],
        "comparison": bundles.runs({"a": states[0], "b": states[1]})["text/html"],
        "report": tables.report_bundle(ours.ledger.report())["text/html"],
        "panel": panel.bundle(ours)["text/html"],
    }


def selectors(html: str) -> list[str]:
    (style,) = _STYLE.findall(html)
    lists = re.findall(r"(?:^|[{}])\s*([^{}@;]+)\{", style)
    return [each.strip() for of in lists for each in re.split(r",(?![^(]*\))", of)]


def test_every_rule_holds_for_its_own_output_alone() -> None:
    """Rules for all would be matched once an output against every element of all the others."""
    scopes: dict[str, str] = {}
    for kind, html in outputs().items():
        (scope,) = re.findall(r'</style><div class="llmr (llmr-[0-9a-f]+) ', html)
        found = selectors(html)
        assert len(found) > 40, kind
        assert [each for each in found if not re.search(rf"\.{scope}(?![\w-])", each)] == [], kind
        assert ":has(" not in html, kind
        scopes[kind] = scope
    assert len(set(scopes.values())) == len(scopes)


def test_the_same_output_is_saved_the_same_twice() -> None:
    states = {"": run("one")}
    assert bundles.runs(states) == bundles.runs(states)
