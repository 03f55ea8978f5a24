"""The style rules of outputs, each of which applies to its own output only."""

from __future__ import annotations

import itertools
import re
from decimal import Decimal

from llm_magic.jupyter import panel
from llm_magic.jupyter.render import bundles, tables
from llm_magic.jupyter.render.run_state import RunState
from llm_magic.jupyter.render.style import PANEL_STYLE, STYLE
from llm_magic.jupyter.run import history
from llm_magic.testing import Reply
from tests.support import sanitizers
from tests.support.builders import router
from tests.support.display import events_of, state_after

_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)


def run(prompt: str) -> RunState:
    session = router(replies=[Reply(chunks=(f"You said {prompt}.",))])
    state = RunState(cap_usd=Decimal(5))
    request = session.request(prompt, tier="bulk")
    for event in session.stream_sync(request):
        state.apply(event)
    history.add(request, state)
    return state


def outputs() -> dict[str, str]:
    """Return one styled output of each kind, and a second answer."""
    history.clear()
    session, states = router(), [run("one"), run("two")]
    reported = router(replies=[Reply()])
    reported.route_sync("hello", tier="bulk")
    return {
        "answer": bundles.runs({"": states[0]})["text/html"],
        "another": bundles.runs({"": states[1]})["text/html"],
        "plan": bundles.plan(session.plan("hello"))["text/html"],
        "comparison": bundles.runs({"a": states[0], "b": states[1]})["text/html"],
        "report": tables.report_bundle(reported.ledger.report())["text/html"],
        "panel": panel.bundle(session)["text/html"],
    }


def depths(css: str) -> list[int]:
    """Return the number of open blocks after each character."""
    return list(itertools.accumulate({"{": 1, "}": -1}.get(character, 0) for character in css))


def test_every_rule_applies_to_its_own_output_only() -> None:
    """With global rules, each output would make the browser match all elements of all other outputs."""
    scopes: dict[str, str] = {}
    for kind, html in outputs().items():
        (scope,) = re.findall(r'</style><div class="llmr (llmr-[0-9a-f]+) ', html)
        (rules,) = _STYLE.findall(html)
        assert rules.startswith(f".{scope}{{"), kind
        assert rules.count("}") > 5, kind
        assert depths(rules).index(0, len(scope) + 1) == len(rules) - 1, f"{kind}: all rules are within the scope"
        assert "@keyframes" not in rules, f"{kind}: it can't be within a rule"
        assert ":has(" not in html, kind
        scopes[kind] = scope
    assert len(set(scopes.values())) == len(scopes)


def test_an_unchanged_output_is_saved_unchanged() -> None:
    states = {"": run("one")}
    assert bundles.runs(states) == bundles.runs(states)


def test_a_saved_output_is_one_line_with_the_line_breaks_of_code_as_character_references() -> None:
    """A notebook saves each line with quotes and indentation, which takes fifteen characters."""
    answer = "One\ntwo.\n\nThree.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nx = 1\n\ny = 2\n```"
    html = bundles.runs({"": state_after(events_of(Reply(chunks=(answer,))))})["text/html"]
    assert "\n" not in html
    assert "One two.\nThree." in sanitizers.visible_text(html)
    assert "x = 1\n\ny = 2\n" in sanitizers.visible_text(html)
    assert "1 2" in re.sub(r"<[^>]+>", "", html), "cells are apart without their tags"


def test_an_output_is_saved_with_the_rules_that_apply_to_it_only() -> None:
    kinds = outputs()
    assert len(_STYLE.findall(kinds["answer"])[0]) < 800
    for kind, absent in {"answer": "llmr-columns", "plan": "llmr-foot", "comparison": "llmr-plan"}.items():
        assert absent not in kinds[kind], kind
    assert ".ok{border-color:#" in kinds["panel"]
    assert ".k{" not in kinds["panel"]


def test_every_class_of_an_output_that_has_a_rule_keeps_it() -> None:
    for kind, html in outputs().items():
        (rules,) = _STYLE.findall(html)
        used = {name for value in re.findall("class=[\"']([^\"']*)", html) for name in value.split()}
        styled = {name for name in used if f".{name}{{" in STYLE + PANEL_STYLE}
        assert styled, kind
        assert [name for name in styled if f".{name}" not in rules] == [], kind


def test_only_long_answers_are_drawn_when_they_are_near_the_viewport() -> None:
    def page(text: str) -> str:
        return bundles.runs({"": state_after(events_of(Reply(chunks=(text,))))})["text/html"]

    assert "content-visibility" not in page("short")
    assert "llmr-far{content-visibility:auto" in page("long " * 1_000)
