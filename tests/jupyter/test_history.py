"""What can be done about a run that is over: again, one tier up, a rating, the panel."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from llm_magic import AuthFailed, Overloaded, RequestError, Router, TaskTier
from llm_magic.jupyter import panel
from llm_magic.jupyter.display.run_view import StaticScreen
from llm_magic.jupyter.panel import text
from llm_magic.jupyter.run import background, history
from llm_magic.jupyter.run.foreground import watch
from llm_magic.testing import Failure, Reply, ScriptedProvider
from tests.support.builders import model, router
from tests.support.shell import Shell

FOUR = tuple(
    model(name, price=price, tiers=(tier,), fallback_id=fallback)
    for name, price, tier, fallback in (
        ("top", "4/20", TaskTier.COMPLEX, "middle"),
        ("middle", "1/5", TaskTier.STANDARD, "json"),
        ("json", "0.5/2", TaskTier.STRUCTURED, "cheap"),
        ("cheap", "0.1/0.5", TaskTier.BULK, None),
    )
)


@pytest.fixture(autouse=True)
def empty() -> Iterator[None]:
    history._runs.clear()
    yield
    history._runs.clear()


class NoScreen(StaticScreen):
    def finish(self, state: Any) -> None:
        pass


def ran(ours: Router, prompt: str = "hello", **options: Any) -> history.PastRun:
    watch(ours, ours.request(prompt, **options), NoScreen())
    return history.last()


def test_escalating_climbs_tier_by_tier_and_each_run_remembers_its_parent() -> None:
    ours = router(*FOUR)
    done = ran(ours, tier="bulk")
    climbed = [done]
    for _ in range(3):
        watch(ours, history.escalated(ours, climbed[-1]), NoScreen())
        climbed.append(history.last())
    assert [(each.model, each.tier) for each in climbed] == [
        ("cheap", "BULK"), ("json", "STRUCTURED"), ("middle", "STANDARD"), ("top", "COMPLEX")
    ]  # fmt: skip
    rows = ours.ledger.rows()
    assert [row.parent_run_id for row in rows] == [None, *(row.run_id for row in rows[:-1])]
    with pytest.raises(RequestError, match="top has answered, and no model above it can be used"):
        history.escalated(ours, climbed[-1])


def test_escalating_never_asks_the_same_model_again() -> None:
    ours = router(
        model("top", price="4/20", tiers=(TaskTier.COMPLEX,)),
        model("all", price="0.1/0.5", tiers=(TaskTier.BULK, TaskTier.STRUCTURED, TaskTier.STANDARD), fallback_id="top"),
    )
    request = history.escalated(ours, ran(ours, tier="bulk", cache=True))
    assert (request.tier, request.model, request.cache) == (TaskTier.COMPLEX, None, False)
    assert ours.plan(request).candidates[0].model.id == "top"


def test_a_failed_run_can_be_asked_again() -> None:
    scripted = ScriptedProvider([Failure(error=AuthFailed("no")), Failure(error=AuthFailed("no")), Reply()])
    ours = router(providers={"cloud": scripted})
    with pytest.raises(Exception, match="no answer"):
        ran(ours, tier="bulk")
    done = history.last()
    assert done.state.ended == "no answer"
    with pytest.raises(RequestError, match="no run of this session has an answer"):
        history.last(answered=True)
    watch(ours, history.again(done), NoScreen())
    assert history.last().request.tier == "BULK"


def test_memory_is_bounded_in_runs_and_in_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = router()
    for number in range(history.MOST_RUNS + 5):
        ran(ours, f"hello {number}")
    assert len(history.recent()) == history.MOST_RUNS
    monkeypatch.setattr(history, "MOST_CHARS", 100)
    ran(ours, "x" * 1_000)
    assert len(history.recent()) == 1
    assert history.last().request.prompt == "x" * 1_000


def test_what_was_refused_before_it_began_is_not_remembered() -> None:
    ours = router()
    with pytest.raises(Exception, match="over budget"):
        ran(ours, max_cost="0.0000001")
    assert history.recent() == []


def test_savings_are_those_of_the_session() -> None:
    ours = router()
    assert ours.ledger.saved_usd == 0
    results = [ours.route_sync("hello", tier=tier) for tier in ("bulk", "complex")]
    assert ours.ledger.saved_usd == sum(result.savings_usd for result in results) > 0


# The magics.


def test_again_and_rate(shell: Shell) -> None:
    out, error = shell.fail("%route_again")
    assert isinstance(error, RequestError)
    assert "no run of this session is remembered yet" in out
    shell.run("%route --tier bulk hello")
    assert "strong  [STANDARD 1.00" in shell.run("%route_again --out second")
    assert shell["second"] is shell["_route"]
    assert "cheap  [STANDARD 1.00" in shell.run("%route_again --model cheap")
    assert "cheap  [STRUCTURED 1.00" in shell.run("%route_again --tier structured")
    parents = [row.parent_run_id for row in shell.router.ledger.rows()]
    assert [parent is None for parent in parents] == [True, False, False, False]
    assert len(set(parents)) == 4

    assert "cheap: rated up" in shell.run("%route_rate up")
    assert shell.router.ledger.rows()[-1].rating == 1
    shell.run("%route_rate down")
    assert shell.router.ledger.rows()[-1].rating == -1
    assert "no longer rated" in shell.run("%route_rate clear")
    assert shell.router.ledger.rows()[-1].rating is None


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("%route_rate", "UsageError: the following arguments are required: rating"),
        ("%route_rate 5", "UsageError: argument rating: invalid choice"),
        ("%route_again --tier hard", "UsageError: --tier hard: must be one of COMPLEX, STANDARD, STRUCTURED, BULK"),
        ("%route_again --model gpt-1", "RequestError: no model 'gpt-1'"),
        ("%route_again --out 3x", "UsageError: --out 3x: not a name"),
        ("%route_again hello", "UsageError: unrecognized arguments: hello"),
        ("%route_panel now", "UsageError: %route_panel takes no arguments"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(shell: Shell, cell: str, says: str) -> None:
    shell.run("%route --tier bulk hello")
    out, _ = shell.fail(cell)
    assert says in out
    assert "Traceback" not in out


def test_without_a_front_end_the_panel_is_text(shell: Shell) -> None:
    shell.run("%route_budget 5\n%route --tier bulk hello <there>")
    out = shell.run("%route_panel")
    assert "session USD 0.0000035 of USD 5.00; saved USD 0.00014 against the top model" in out
    assert "✓ cloud: 2 models" in out
    assert re.search(r"cheap · BULK · USD 0.0000035 · \d\d:\d\d · hello <there>", out)


# The panel itself, without a kernel.


class Displayed:
    def __init__(self) -> None:
        self.bundles: list[dict[str, Any]] = []

    def __call__(self, bundle: dict[str, Any], **_: Any) -> Displayed:
        self.bundles.append(bundle)
        return self

    def update(self, bundle: dict[str, Any], **_: Any) -> None:
        self.bundles.append(bundle)


@pytest.fixture
def shown(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Iterator[panel.Panel]:
    monkeypatch.setattr("llm_magic.jupyter.display.run_view.is_watched", lambda _: True)
    displayed = Displayed()
    monkeypatch.setattr("IPython.display.display", displayed)
    shell.run("%route_budget 5\n%route --tier bulk hello\n%route_panel")
    (view,) = [each for each in displayed.bundles if "application/vnd.jupyter.widget-view+json" in each]
    (twin,) = [each for each in displayed.bundles if "llmr-twin" in each.get("text/html", "")][:1]
    assert view["text/plain"] == ""
    assert "hello" in twin["text/html"]
    yield next(iter(history.watchers)).__self__  # type: ignore[attr-defined]
    assert len(history.watchers) == 1


def buttons(row: Any) -> dict[str, Any]:
    return {word(each).removeprefix("✓ "): each for each in row.children[1].children if hasattr(each, "click")}


def word(button: Any) -> str:
    """What is seen of it: the first line."""
    return button.description.split("\n")[0]


def texts(widget: Any) -> str:
    """Its HTML. What a button says is put into the page as text."""
    return "".join(texts(child) for child in getattr(widget, "children", ())) + getattr(widget, "value", "")


def test_the_panel_lists_the_runs_and_follows_them(shown: panel.Panel, shell: Shell) -> None:
    assert len(shown._rows.children) == 1
    first = shown._rows.children[0]
    shell.run("%route --tier complex other")
    assert shown._rows.children[1] is first, "what is there stays, and with it the focus"
    assert "other" in texts(shown._rows.children[0])
    assert "of USD 5.00" in shown._head.value
    for _ in range(text.SHOWN + 2):
        shell.run("%route --tier bulk hello")
    assert len(shown._rows.children) == text.SHOWN
    assert first.comm is None, "what leaves the list is taken down, and with it its copy of the answer"
    assert all(button.comm is None for button in buttons(first).values())
    before = shown._head.value
    shell.run("import llm_magic\n_ = llm_magic.router().route_sync('from Python')")
    assert shown._head.value != before


def test_the_panel_rates_and_takes_it_back(shown: panel.Panel, shell: Shell) -> None:
    row = shown._rows.children[0]
    up, down = buttons(row)["Good"], buttons(row)["Bad"]
    up.click()
    assert word(up) == "✓ Good"
    assert "is rated good" in shown._said.value
    down.click()
    assert (word(up), word(down)) == ("Good", "✓ Bad")
    assert shell.router.ledger.rows()[0].rating == -1
    down.click()
    assert shell.router.ledger.rows()[0].rating is None


def test_the_panel_escalates_in_the_background(shown: panel.Panel, shell: Shell) -> None:
    buttons(shown._rows.children[0])["Escalate"].click()
    background.wait(background.chosen([]))
    row = shown._rows.children[0]
    assert "again of" in texts(row)
    assert "A scripted answer." in texts(row)
    assert "was asked again: answered, USD 0.00014." in shown._said.value
    assert shell["_route"].model == "strong"
    buttons(row)["Escalate"].click()
    assert "strong has answered, and no model above it can be used" in shown._said.value


def test_a_comparison_is_one_entry_with_a_pick_for_each_answer(shown: panel.Panel, shell: Shell) -> None:
    shell.scripted._reply = lambda request: (
        Failure(error=AuthFailed("no")) if request.model.id == "never" else Reply(chunks=(request.model.id,))
    )
    shell.run("%route --compare cheap,strong <b>which</b>?")
    compared = history.entries()[0]
    row = shown._rows.children[0]
    assert len(shown._rows.children) == 2
    assert f"<b>{compared[0].number}–{compared[1].number}</b> <b>&lt;b&gt;which&lt;/b&gt;?</b>" in texts(row)
    assert "<span>comparison</span><span>together USD 0.0" in texts(row)
    cheap, strong = (line.children[1] for line in row.children[1:])
    about = f"Pick\n%s for comparison {compared[0].number}: <b>which</b>?"
    assert [each.description for each in (cheap, strong)] == [about % "cheap", about % "strong"]

    def ratings() -> dict[str, int | None]:
        return {each.model: each.rating for each in shell.router.ledger.rows()[-2:]}

    strong.click()
    assert ratings() == {"cheap": None, "strong": 1}
    assert (word(cheap), word(strong)) == ("Pick", "✓ Picked")
    assert shell["_route"].text == "strong"
    assert "strong is your pick." in shown._said.value
    cheap.click()
    assert ratings() == {"cheap": 1, "strong": None}
    assert (word(cheap), word(strong)) == ("✓ Picked", "Pick")
    cheap.click()
    assert ratings() == {"cheap": None, "strong": None}
    assert "cheap is no longer your pick." in shown._said.value
    shell.run("%route_pick 2")
    assert (word(cheap), word(strong)) == ("Pick", "✓ Picked"), "the same by the magic"
    lines = panel.bundle(shell.router)["text/plain"].splitlines()
    at = next(number for number, line in enumerate(lines) if "comparison" in line)
    assert lines[at + 1].startswith("  1. cheap · USD 0.0")
    assert re.fullmatch(r"  2\. strong · USD [\d.]+ · [\d.]+ s · picked", lines[at + 2])


def test_in_a_comparison_only_an_answer_can_be_picked(shown: panel.Panel, shell: Shell) -> None:
    shell.scripted._reply = lambda request: (
        Failure(error=AuthFailed("<i>no")) if request.model.id == "cheap" else Reply(chunks=("yes",))
    )
    shell.run("%route --compare cheap,strong which one")
    failed, answered = shown._rows.children[0].children[1:]
    assert "&lt;i&gt;no" in texts(failed)
    assert [len(line.children) for line in (failed, answered)] == [1, 3]


def test_a_refused_escalation_says_why(shown: panel.Panel, shell: Shell) -> None:
    shell.run("%route_budget 0.00001")
    buttons(shown._rows.children[0])["Escalate"].click()
    assert "no model above it can be used" in shown._said.value
    assert len(shown._rows.children) == 1


def test_unloading_gives_back_what_the_panel_took(shown: panel.Panel, shell: Shell) -> None:
    before = len(shell.shell.events.callbacks["post_run_cell"])
    shell.run("%reload_ext llm_magic")
    assert len(shell.shell.events.callbacks["post_run_cell"]) == before - 1
    assert not history.watchers
    assert shown._box.comm is None
    shell.run("%route_panel")


def test_prompts_and_errors_in_the_panel_are_escaped(shown: panel.Panel, shell: Shell) -> None:
    evil = "<img src=x onerror=alert(1)>"
    shell.scripted._reply = lambda _: Failure(error=Overloaded(evil, retry_after_s=99))
    shell.fail(f"%route --tier bulk {evil}")
    said = texts(shown._box) + panel.bundle(shell.router)["text/html"]
    assert "&lt;img" in said
    assert "<img" not in said
    shell.scripted._reply = lambda _: Reply(chunks=("</textarea><script>alert(1)</script>",))
    shell.shell.run_cell(f"%route --model strong {evil}")
    assert "<script" not in texts(shown._box)


def test_the_providers_health(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = router(
        model("a", fallback_id="b"), model("b"), replies=[Failure(error=Overloaded("x", retry_after_s=99)), Reply()]
    )
    assert text.providers(ours) == ["✓ cloud: 2 models"]
    ours.route_sync("hello")
    (line,) = text.providers(ours)
    assert re.fullmatch(r"✗ cloud: a cooling down until \d\d:\d\d:\d\d", line)
    assert text.providers(router(providers={"cloud": ScriptedProvider(unavailable="no CLOUD_KEY")})) == [
        "– cloud: no CLOUD_KEY"
    ]
