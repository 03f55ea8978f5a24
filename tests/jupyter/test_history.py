"""Finished runs: running them again, escalating and rating them, and the panel."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llm_magic import (
    AllAttemptsFailed,
    AuthFailed,
    Ledger,
    Overloaded,
    PaymentRequired,
    Registry,
    RequestError,
    Router,
    TaskTier,
)
from llm_magic.jupyter import panel
from llm_magic.jupyter.panel import facts, output
from llm_magic.jupyter.render.facts import Badge, Tone
from llm_magic.jupyter.render.run_state import RunState, RunStates, Verbosity
from llm_magic.jupyter.run import background, comparison, foreground, history
from llm_magic.testing import Failure, Reply, ScriptedProvider
from llm_magic.types import Effort
from tests.support.builders import NOON, model, router
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
def empty_history() -> Iterator[None]:
    history.clear()
    yield
    history.clear()


@pytest.fixture
def replies() -> dict[str, Reply | Failure]:
    """The replies by model. Other models give the default reply."""
    return {}


@pytest.fixture
def scripted(replies: dict[str, Reply | Failure]) -> ScriptedProvider:
    return ScriptedProvider(lambda request: replies.get(request.model.id, Reply()))


class NoView:
    verbosity: Verbosity = "normal"

    def update(self, states: RunStates) -> None:
        pass

    def finish(self, states: RunStates) -> None:
        pass


def run(session: Router, prompt: str = "hello", **options: Any) -> history.PastRun:
    foreground.run(session, session.request(prompt, **options), NoView())
    return history.last()


def test_escalating_goes_up_model_by_model_and_each_run_names_its_parent() -> None:
    session = router(*FOUR)
    climbed = [run(session, tier="bulk")]
    for _ in range(3):
        foreground.run(session, history.escalated(session, climbed[-1]), NoView())
        climbed.append(history.last())
    assert [(past.model, past.tier) for past in climbed] == [
        ("cheap", "BULK"), ("json", "BULK"), ("middle", "BULK"), ("top", "BULK")
    ]  # fmt: skip
    assert [past.state.plan.candidates[0].why for past in climbed[1:] if past.state.plan] == [
        f"escalated: expected to answer better than {past.model}" for past in climbed[:-1]
    ]
    rows = session.ledger.rows()
    assert [row.parent_run_id for row in rows] == [None, *(row.run_id for row in rows[:-1])]
    with pytest.raises(RequestError, match="top has answered, and no model above it can be used"):
        history.escalated(session, climbed[-1])


def test_escalating_never_asks_the_same_model_again() -> None:
    session = router(
        model("top", price="4/20", tiers=(TaskTier.COMPLEX,)),
        model("all", price="0.1/0.5", tiers=(TaskTier.BULK, TaskTier.STRUCTURED, TaskTier.STANDARD), fallback_id="top"),
    )
    request = history.escalated(session, run(session, tier="bulk", cache=True))
    assert (request.tier, request.model, request.cache) == (TaskTier.BULK, "top", False)
    assert session.plan(request).candidates[0].model.id == "top"


def test_a_failed_run_can_be_run_again() -> None:
    scripted = ScriptedProvider([Failure(error=AuthFailed("no")), Failure(error=AuthFailed("no")), Reply()])
    session = router(providers={"cloud": scripted})
    with pytest.raises(Exception, match="no answer"):
        run(session, tier="bulk")
    failed = history.last()
    assert failed.state.ending == "no answer"
    with pytest.raises(RequestError, match="no runs with an answer in this session yet"):
        history.last(answered=True)
    foreground.run(session, history.again(failed), NoView())
    assert history.last().request.tier == "BULK"


def test_history_is_limited_in_runs_and_in_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    session = router()
    for number in range(history.MAX_RUNS + 5):
        run(session, f"hello {number}")
    assert len(history.recent()) == history.MAX_RUNS
    monkeypatch.setattr(history, "MAX_CHARS", 100)
    run(session, "x" * 1_000)
    assert len(history.recent()) == 1
    assert history.last().request.prompt == "x" * 1_000


def test_a_run_that_was_refused_before_it_began_is_not_kept() -> None:
    session = router()
    with pytest.raises(Exception, match="over budget"):
        run(session, max_cost="0.0000001")
    assert history.recent() == []


def test_savings_are_the_total_of_the_session() -> None:
    session = router()
    assert session.ledger.saved_usd == 0
    results = [session.route_sync("hello", tier=tier) for tier in ("bulk", "complex")]
    assert session.ledger.saved_usd == sum(result.savings_usd for result in results) > 0


# The magics.


def test_a_run_is_run_again_and_rated(shell: Shell) -> None:
    out, error = shell.fail("%route_again")
    assert isinstance(error, RequestError)
    assert "no runs in this session yet" in out
    shell.run("%route --tier bulk hello")
    assert "cheap · " in shell.run("%route_again --out second")
    assert shell["second"] is shell["_route"]
    assert "strong · " in shell.run("%route_escalate --out third")
    assert shell["third"] is shell["_route"]
    assert "cheap · " in shell.run("%route_again --model cheap")
    assert "cheap · " in shell.run("%route_again --tier structured")
    parents = [row.parent_run_id for row in shell.router.ledger.rows()]
    assert [parent is None for parent in parents] == [True, False, False, False, False]
    assert len(set(parents)) == 5

    assert "cheap: rated up" in shell.run("%route_rate up")
    assert shell.router.ledger.rows()[-1].rating == 1
    shell.run("%route_rate down")
    assert shell.router.ledger.rows()[-1].rating == -1
    assert "no longer rated" in shell.run("%route_rate clear")
    assert shell.router.ledger.rows()[-1].rating is None


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("%route_rate", "UsageError: %route_rate needs a rating: up, down or clear"),
        ("%route_rate 5", "UsageError: invalid rating 5: must be up, down or clear"),
        (
            "%route_again --tier hard",
            "UsageError: invalid --tier hard: must be one of COMPLEX, STANDARD, STRUCTURED, BULK",
        ),
        ("%route_again --model gpt-1", "UsageError: invalid --model gpt-1: must be one of"),
        ("%route_again --out 3x", "UsageError: invalid --out 3x: must be the name of a variable"),
        ("%route_again hello", "UsageError: unrecognized arguments: hello"),
        ("%route_panel now", "UsageError: %route_panel takes no arguments"),
    ],
)
def test_wrong_arguments_are_reported_on_one_line(shell: Shell, cell: str, message: str) -> None:
    shell.run("%route --tier bulk hello")
    out, _ = shell.fail(cell)
    assert message in out
    assert "Traceback" not in out


def test_in_a_terminal_the_panel_is_text(shell: Shell) -> None:
    shell.run("%route_budget 5\n%route --tier bulk hello <there>")
    out = shell.run("%route_panel")
    assert "session <$0.001 of $5.00; saved <$0.001 against the top model" in out
    assert "✓ cloud: 2 models" in out
    assert re.search(r"cheap · BULK · <\$0.001 · \d\d:\d\d · hello <there>", out)


# The panel, without a kernel.


class Displayed:
    def __init__(self) -> None:
        self.bundles: list[dict[str, Any]] = []

    def __call__(self, bundle: dict[str, Any], **_: Any) -> Displayed:
        self.bundles.append(bundle)
        return self

    def update(self, bundle: dict[str, Any], **_: Any) -> None:
        self.bundles.append(bundle)


@pytest.fixture
def live_panel(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Iterator[panel.Panel]:
    monkeypatch.setattr("llm_magic.jupyter.display.run_view.is_attended", lambda _: True)
    displayed = Displayed()
    monkeypatch.setattr("IPython.display.display", displayed)
    shell.run("%route_budget 5\n%route --tier bulk hello\n%route_panel")
    (widget,) = [bundle for bundle in displayed.bundles if "application/vnd.jupyter.widget-view+json" in bundle]
    (copy,) = [bundle for bundle in displayed.bundles if "llmr-twin" in bundle.get("text/html", "")][:1]
    assert widget["text/plain"] == ""
    assert "hello" in copy["text/html"]
    yield next(iter(panels()))
    assert len(panels()) == 1


def panels() -> list[panel.Panel]:
    """Return the panels that follow the runs."""
    watching = [getattr(watcher, "__self__", None) for watcher in history.watchers]
    return [watcher for watcher in watching if isinstance(watcher, panel.Panel)]


@pytest.fixture
def in_a_kernel(live_panel: panel.Panel, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setattr(shell.shell, "kernel", SimpleNamespace(_allow_stdin=True), raising=False)
    monkeypatch.setattr("llm_magic.jupyter.display.run_view.is_recorded", lambda: False)
    return shell


def buttons(row: Any) -> dict[str, Any]:
    """Return the row's buttons by word."""
    return {word(item).removeprefix("✓ "): item for item in row.buttons.children if hasattr(item, "click")}


def word(button: Any) -> str:
    """Return the visible first line."""
    return button.description.split("\n")[0]


def texts(widget: Any) -> str:
    """Return the HTML of a widget and its children. Buttons have none: their words are inserted as text."""
    return "".join(texts(child) for child in getattr(widget, "children", ())) + getattr(widget, "value", "")


def test_the_panel_lists_the_runs_and_follows_new_ones(live_panel: panel.Panel, shell: Shell) -> None:
    assert len(live_panel.rows) == 1
    first = live_panel.rows[0]
    shell.run("%route --tier complex other")
    assert live_panel.rows[1] is first, "an existing row is kept, and with it the focus"
    assert "other" in texts(live_panel.rows[0].box)
    assert "of $5.00" in live_panel.head.value
    for _ in range(output.OPEN_ENTRIES + 2):
        shell.run("%route --tier bulk hello")
    assert len(live_panel.rows) == output.OPEN_ENTRIES == 5
    assert "4 earlier runs" in live_panel.earlier.value
    assert "A scripted answer." in texts(live_panel.rows[0].box), "one press away"
    assert first.box.comm is None, "a row that leaves the list is closed, with its copy of the answer"
    assert all(button.comm is None for button in buttons(first).values())
    before = live_panel.head.value
    shell.run("import llm_magic\n_ = llm_magic.router().route_sync('from Python')")
    assert live_panel.head.value != before


def test_the_panel_rates_a_run_and_clears_the_rating(live_panel: panel.Panel, shell: Shell) -> None:
    row = live_panel.rows[0]
    up, down = buttons(row)["Good"], buttons(row)["Bad"]
    up.click()
    assert word(up) == "✓ Good"
    assert "is rated good" in live_panel.message.value
    down.click()
    assert (word(up), word(down)) == ("Good", "✓ Bad")
    assert shell.router.ledger.rows()[0].rating == -1
    down.click()
    assert shell.router.ledger.rows()[0].rating is None


def test_the_panel_escalates_in_the_background(live_panel: panel.Panel, shell: Shell) -> None:
    buttons(live_panel.rows[0])["Escalate"].click()
    background.wait(background.select())
    row = live_panel.rows[0]
    assert "again of" in texts(row.box)
    assert "A scripted answer." in texts(row.box)
    assert "was run again: answered, &lt;$0.001." in live_panel.message.value
    assert shell["_route"].model == "strong"
    assert "Escalate" not in buttons(row), "no model is above strong"


def test_a_comparison_is_one_entry_with_a_pick_for_each_answer(
    live_panel: panel.Panel, shell: Shell, replies: dict[str, Reply | Failure]
) -> None:
    replies.update({name: Reply(chunks=(name,)) for name in ("cheap", "strong")})
    shell.run("%route --compare cheap,strong <b>which</b>?")
    compared = history.entries(shell.router.ledger)[0]
    row = live_panel.rows[0]
    assert len(live_panel.rows) == 2
    assert f"<b>{compared[0].number}–{compared[1].number}</b> <b>&lt;b&gt;which&lt;/b&gt;?</b>" in texts(row.box)
    assert "<span>comparison</span> · <span>total " in texts(row.box)
    cheap, strong = (line.children[1].children[0] for line in row.lines)
    label = f"Pick\n%s for comparison {compared[0].number}: <b>which</b>?"
    assert [button.description for button in (cheap, strong)] == [label % "cheap", label % "strong"]

    def ratings() -> dict[str, int | None]:
        return {row.model: row.rating for row in shell.router.ledger.rows()[-2:]}

    strong.click()
    assert ratings() == {"cheap": None, "strong": 1}
    assert (word(cheap), word(strong)) == ("Pick", "✓ Picked")
    assert shell["_route"].text == "strong"
    assert "strong is your pick." in live_panel.message.value
    cheap.click()
    assert ratings() == {"cheap": 1, "strong": None}
    assert (word(cheap), word(strong)) == ("✓ Picked", "Pick")
    cheap.click()
    assert ratings() == {"cheap": None, "strong": None}
    assert "cheap is no longer your pick." in live_panel.message.value
    shell.run("%route_pick 2")
    assert (word(cheap), word(strong)) == ("Pick", "✓ Picked"), "the magic updates the panel"
    lines = panel.bundle(shell.router)["text/plain"].splitlines()
    start = next(number for number, line in enumerate(lines) if "comparison" in line)
    assert lines[start + 1].startswith("  1. cheap · <$0.001")
    assert re.fullmatch(r"  2\. strong · <?\$[\d.]+ · [\d.]+ s · picked", lines[start + 2])


def test_the_buttons_of_a_comparison_pick_in_place_and_bind_the_result(
    in_a_kernel: Shell, replies: dict[str, Reply | Failure]
) -> None:
    shell = in_a_kernel
    replies.update({name: Reply(chunks=(name,)) for name in ("cheap", "strong")})
    shell.run("%route --compare cheap,strong which one")
    (picks,) = comparison.pickable
    view = picks.view
    view.picks["strong"].button.click()
    assert shell["_route"].text == "strong"
    assert word(view.picks["strong"].button) == "✓ Picked"
    assert "your pick" in view.live["strong"].facts.value
    shell.run("%route_pick 1")
    assert [word(pick.button) for pick in view.picks.values()] == ["✓ Picked", "Pick"]
    view.picks["cheap"].button.click()
    assert [word(pick.button) for pick in view.picks.values()] == ["Pick", "Pick"]
    shell.run("%reload_ext llm_magic")
    assert view.box.comm is None, "closed"
    assert history.watchers == set()
    shell.run("%route_panel")


def test_only_the_last_comparisons_keep_their_buttons(in_a_kernel: Shell) -> None:
    for _ in range(comparison.MAX_PICKABLE + 2):
        in_a_kernel.run("%route --compare cheap,strong which one")
    assert len(history.watchers) == comparison.MAX_PICKABLE + 1


def test_the_runs_of_the_panel_are_those_of_its_total(tmp_path: Path) -> None:
    """After `use_router`, the runs of another ledger or session are not listed above a total without them."""
    first, shared = (Ledger(tmp_path / "ledger.db", session_id="one") for _ in range(2))
    state = RunState(ledger=first)
    history.clear()
    own = router(ledger=first)
    state.plan = own.plan("hello")
    history.add(state.plan.request, state)
    assert len(history.entries(first)) == len(history.entries(shared)) == 1
    for other in (Ledger(tmp_path / "ledger.db", session_id="two"), Ledger(":memory:", session_id="one")):
        assert history.entries(other) == []
    history.clear()


def test_in_a_comparison_only_an_answer_can_be_picked(
    live_panel: panel.Panel, shell: Shell, replies: dict[str, Reply | Failure]
) -> None:
    replies["cheap"] = Failure(error=AuthFailed("<i>no"))
    shell.run("%route --compare cheap,strong which one")
    failed, answered = live_panel.rows[0].lines
    assert "&lt;i&gt;no" in texts(failed)
    assert [len(line.children[1].children) for line in (failed, answered)] == [0, 2]


def test_a_refused_escalation_shows_the_reason(live_panel: panel.Panel, shell: Shell) -> None:
    shell.run("%route_budget 0.00001")
    buttons(live_panel.rows[0])["Escalate"].click()
    assert "no model above it can be used" in live_panel.message.value
    assert len(live_panel.rows) == 1


def test_unloading_gives_back_what_the_panel_took(live_panel: panel.Panel, shell: Shell) -> None:
    before = len(shell.shell.events.callbacks["post_run_cell"])
    shell.run("%reload_ext llm_magic")
    assert len(shell.shell.events.callbacks["post_run_cell"]) == before - 1
    assert not history.watchers
    assert live_panel.box.comm is None
    shell.run("%route_panel")


def test_prompts_and_errors_in_the_panel_are_escaped(live_panel: panel.Panel, shell: Shell) -> None:
    evil = "<img src=x onerror=alert(1)>"
    shell.scripted.script(Failure(error=Overloaded(evil, retry_after_s=99)))
    shell.fail(f"%route --tier bulk {evil}")
    html = texts(live_panel.box) + panel.bundle(shell.router)["text/html"]
    assert "&lt;img" in html
    assert "<img" not in html
    shell.scripted.script(Reply(chunks=("</textarea><script>alert(1)</script>",)))
    shell.shell.run_cell(f"%route --model strong {evil}")
    assert "<script" not in texts(live_panel.box)


def test_the_panel_lists_the_providers_and_their_problems() -> None:
    session = router(
        model("a", fallback_id="b"), model("b"), replies=[Failure(error=Overloaded("x", retry_after_s=99)), Reply()]
    )
    assert [badge.text for badge in facts.providers(session)] == ["✓ cloud: 2 models"]
    session.route_sync("hello")
    (badge,) = facts.providers(session)
    assert re.fullmatch(r"✗ cloud: a cooling down until \d\d:\d\d:\d\d", badge.text)
    assert badge.tone is Tone.BAD
    session = router(model("a"), model("b"), replies=[Failure(error=PaymentRequired("no credit"))])
    with pytest.raises(AllAttemptsFailed):
        session.route_sync("hello")
    (badge,) = facts.providers(session)
    assert re.fullmatch(r"✗ cloud: payment required \(no credit\) until \d\d:\d\d:\d\d", badge.text)
    (badge,) = facts.providers(router(providers={"cloud": ScriptedProvider(unavailable="no CLOUD_KEY")}))
    assert badge == Badge(text="– cloud: no CLOUD_KEY", tone=Tone.NEUTRAL)


async def test_escalate_asks_the_same_model_harder_before_a_better_one() -> None:
    registry = Registry.load("current")
    providers = dict.fromkeys(("openai", "anthropic"), ScriptedProvider())
    routing = Router(registry=registry, ledger=Ledger(":memory:"), providers=providers)

    async def asked(effort: Effort) -> history.PastRun:
        request = routing.request("Translate to French: good morning", model="gpt-6-luna", effort=effort)
        state = RunState.of_result(await routing.route(request))
        return history.PastRun(number=1, at=NOON, request=request, state=state)

    harder = history.escalated(routing, await asked(Effort.NONE))
    assert (harder.model, harder.effort) == ("gpt-6-luna", Effort.MEDIUM)
    assert harder.model_reason == "escalated: the default effort of the model, after none"
    better = history.escalated(routing, await asked(Effort.MEDIUM))
    assert better.model != "gpt-6-luna"


def test_the_panel_lists_the_runs_of_the_sessions_own_router_only() -> None:
    first, second = router(), router()
    run(first, "of the first")
    run(second, "of the second")
    for session, own, other in ((first, "of the first", "of the second"), (second, "of the second", "of the first")):
        text = output.bundle(session)["text/plain"]
        assert own in text
        assert other not in text
