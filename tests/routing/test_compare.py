"""Several models at once: one decision about the money, each a run of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_magic import (
    AuthFailed,
    BudgetExceeded,
    Comparison,
    Ledger,
    LedgerError,
    Overloaded,
    RequestError,
    Router,
    use_router,
)
from llm_magic.budget import Cap, short_usd
from llm_magic.events import AttemptStarted, TextDelta
from llm_magic.jupyter.render.run_state import RunStates
from llm_magic.jupyter.run import comparison, history
from llm_magic.ledger import Reservation
from llm_magic.providers.base import ProviderRequest
from llm_magic.testing import Failure, FakeClock, Reply, ScriptedProvider
from tests.support import builders
from tests.support.builders import attempt, model, registry
from tests.support.fuzzing import examples
from tests.support.providers import Stuck
from tests.support.shell import Shell, loaded

THREE = (model("a", price="1/5"), model("b", price="2/10"), model("c", price="4/20"))


def by_model(request: ProviderRequest) -> Reply | Failure:
    return Reply(chunks=(f"{request.model.id} says so",))


async def test_each_model_answers_in_a_run_of_its_own() -> None:
    router = builders.router(*THREE, replies=by_model)
    compared = await router.compare("hello", models=["b", "a", "c"], tags=("x",))
    assert [column.label for column in compared.columns] == ["b", "a", "c"]
    assert [result.text for result in compared.results] == ["b says so", "a says so", "c says so"]
    assert [result.model for result in compared.results] == ["b", "a", "c"]
    rows = {row.model: row for row in router.ledger.rows()}
    first = compared.results[0].run_id
    assert {name: row.parent_run_id for name, row in rows.items()} == {"b": None, "a": first, "c": first}
    assert len({row.run_id for row in rows.values()}) == 3
    assert {row.tags for row in rows.values()} == {("x",)}
    assert compared.cost_usd == router.ledger.spent_usd == sum(row.cost_usd for row in rows.values())
    assert router.ledger.held_usd == 0


async def test_tiers_are_compared_by_their_first_models() -> None:
    compared = await builders.router(replies=by_model).compare("hello", models=["tiers"])
    assert {column.label: column.result and column.result.model for column in compared.columns} == {
        "COMPLEX": "strong", "STANDARD": "strong", "STRUCTURED": "cheap", "BULK": "cheap",
    }  # fmt: skip


async def test_nothing_is_sent_unless_all_models_fit_under_the_cap_together() -> None:
    router = builders.router(*THREE, replies=by_model)
    worst = {label: plan.candidates[0].worst_usd for label, plan in router.plans("hello", models=["a", "b"]).items()}
    router.set_budget(worst["a"] + worst["b"] - Decimal("0.0000001"))
    with pytest.raises(BudgetExceeded, match="nothing was sent: together the 2 models could cost up to \\$") as no:
        await router.compare("hello", models=["a", "b"])
    assert no.value.asked_usd == worst["a"] + worst["b"]
    assert router.ledger.rows() == []
    router.set_budget(worst["a"] + worst["b"])
    assert len((await router.compare("hello", models=["a", "b"])).results) == 2


async def test_a_model_that_does_not_fit_alone_stops_the_comparison() -> None:
    router = builders.router(*THREE, replies=by_model)
    router.set_budget("0.0003")
    with pytest.raises(BudgetExceeded, match="over budget"):
        await router.compare("hello", models=["a", "c"])
    assert router.ledger.rows() == []


async def test_a_compared_model_has_no_fallback() -> None:
    def reply(request: ProviderRequest) -> Reply | Failure:
        return Failure(error=AuthFailed("bad key")) if request.model.id == "a" else by_model(request)

    router = builders.router(model("a", fallback_id="b"), model("b"), replies=reply)
    compared = await router.compare("hello", models=["a", "b"])
    assert compared.columns[0].result is None
    assert "auth failed (bad key)" in compared.columns[0].error
    assert [row.model for row in router.ledger.rows()] == ["a", "b"]


async def test_an_unusable_model_has_a_reason_and_the_others_answer() -> None:
    router = Router(
        registry=registry(model("a"), model("b", provider="other"), model("c")),
        providers={"cloud": ScriptedProvider(by_model), "other": ScriptedProvider(unavailable="no OTHER_KEY")},
        ledger=Ledger(":memory:"),
        clock=FakeClock().clock(),
    )
    compared = await router.compare("hello", models=["a", "b", "c"])
    assert [column.result is None for column in compared.columns] == [False, True, False]
    assert "b: no OTHER_KEY" in compared.columns[1].error
    assert "--model" not in compared.columns[1].error, "the option was not given"


async def test_a_retry_in_a_comparison_has_a_hold_of_its_own() -> None:
    replies: dict[str, list[Any]] = {"a": [Failure(error=Overloaded("busy")), Reply()], "b": [Reply()]}
    router = builders.router(model("a"), model("b"), replies=lambda request: replies[request.model.id].pop(0))
    compared = await router.compare("hello", models=["a", "b"])
    assert len(compared.results) == 2
    assert sorted((row.model, row.attempt, row.outcome) for row in router.ledger.rows()) == [
        ("a", 1, "overloaded"), ("a", 2, "ok"), ("b", 1, "ok"),
    ]  # fmt: skip


@pytest.mark.parametrize("concurrency", [1, 64])
def test_closing_a_comparison_settles_sent_attempts_and_releases_reservations(concurrency: int) -> None:
    stuck = Stuck("one ")
    router = Router(
        registry=registry(*THREE, concurrency=concurrency), providers={"cloud": stuck}, ledger=Ledger(":memory:"),
        clock=FakeClock().clock(),
    )  # fmt: skip
    started = 0
    job = router.compare_job(router.plans("hello", models=["a", "b", "c"]))
    for _, event in job:
        if isinstance(event, AttemptStarted):
            if concurrency > 1:
                assert len(router.ledger.rows()) == 3, "money is held for all of them before the first is sent"
            started += 1
        if isinstance(event, TextDelta):
            break
    job.cancel()
    assert job.join(10)
    rows = router.ledger.rows()
    assert {row.outcome for row in rows} == {"cancelled"}
    assert len(rows) == (1 if concurrency == 1 else 3) >= started
    assert router.ledger.held_usd == 0


def test_every_reservation_is_released_although_the_ledger_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    router = builders.router(*THREE, providers={"cloud": Stuck("one ")})
    released: list[str] = []

    def failing(reservation: Reservation) -> None:
        released.append(reservation.attempt.run_id)
        raise LedgerError("the disk is full")

    monkeypatch.setattr(Reservation, "release", failing)
    job = router.compare_job(router.plans("hello", models=["a", "b", "c"]))
    next(iter(job))
    job.cancel()
    assert job.join(10)
    assert len(set(released)) == 3
    assert router.ledger.held_usd == 0


async def test_a_comparison_job_yields_events_and_can_be_canceled() -> None:
    router = builders.router(*THREE, providers={"cloud": Stuck("one ")})
    job = router.compare_job(router.plans("hello", models=["a", "b"]))
    assert next(iter(job))[0] in ("a", "b")
    job.cancel()
    assert await asyncio.to_thread(job.join, 10)
    assert router.ledger.held_usd == 0


@pytest.mark.parametrize("models", [["a"], ["a", "a"], []])
def test_a_comparison_needs_two_models(models: list[str]) -> None:
    with pytest.raises(RequestError, match="needs two models or more"):
        builders.router(*THREE).plans("hello", models=models)


def test_an_unknown_model_is_named_in_the_error() -> None:
    with pytest.raises(RequestError, match="no model 'x': the registry has a, b, c"):
        builders.router(*THREE).plans("hello", models=["a", "x"])


@settings(max_examples=examples(40))
@given(st.lists(st.integers(1, 50), min_size=1, max_size=6), st.integers(0, 150))
def test_money_is_reserved_for_all_models_or_for_none(worsts: list[int], cap: int) -> None:
    ledger = Ledger(":memory:", session_id="session")
    caps = (Cap(scope="session", limit_usd=Decimal(cap)),)
    asks = [(attempt(run_id=str(number)), Decimal(worst), caps) for number, worst in enumerate(worsts)]
    if sum(worsts) > cap:
        with pytest.raises(BudgetExceeded):
            ledger.reserve_all(asks)
        assert ledger.rows() == []
    else:
        reserves = ledger.reserve_all(asks)
        assert ledger.held_usd == sum(worsts)
        reserves[0].hold(*asks[0]).settle(attempt(run_id="0", cost_usd=Decimal(1)))
        assert ledger.held_usd == sum(worsts[1:])
        for reserve in reserves:
            reserve.release()
        assert [row.run_id for row in ledger.rows()] == ["0"]
        assert (ledger.spent_usd, ledger.held_usd) == (1, 0)
    ledger.close()


@pytest.fixture
def shell() -> Iterator[Shell]:
    scripted = ScriptedProvider(by_model)
    router = builders.router(*THREE, providers={"cloud": scripted})
    comparison.clear()
    with loaded(router, scripted) as shell:
        yield shell


def test_a_cell_compares_models_and_a_pick_is_stored_as_a_rating(shell: Shell) -> None:
    out = shell.run("%%route --compare 'a, b,c' --out all --tag x\nhello")
    for number, name in enumerate("abc", 1):
        assert f"{number}. {name}  [<$0.001, " in out
        assert f"\n{name} says so" in out
    spent = short_usd(shell.router.ledger.spent_usd)
    assert f"total {spent} | session {spent} | keep the best one: %route_pick N, or Pick in %route_panel" in out
    assert isinstance(shell["_route"], Comparison)
    assert shell["all"] is shell["_route"]
    assert {done.model for done in history.recent()[:3]} == {"a", "b", "c"}, "the panel knows them"
    assert shell.run("%route_pick 2") == "picked b\n"
    assert shell["_route"].model == "b"
    rated = {row.model: row.rating for row in shell.router.ledger.rows()}
    assert rated == {"a": None, "b": 1, "c": None}
    shell.run("%route_pick c")
    assert {row.model: row.rating for row in shell.router.ledger.rows()} == {"a": None, "b": None, "c": 1}
    shell.run("%reload_ext llm_magic")
    assert shell.run("%route_pick 1") == "picked a\n"
    out, _ = shell.fail("%route_pick 4")
    assert "RequestError: no column '4': pick 1 to 3, or one of a, b, c" in out


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("%route_pick 1", "RequestError: nothing to pick from: run %%route --compare first"),
        ("%%route --compare a\nhello", "RequestError: a comparison needs two models or more"),
        ("%%route --compare a,x\nhello", "UsageError: invalid --compare x: must be tiers, or one of a, b, c"),
        ("%%route --compare a,b --model c\nhello", "UsageError: --compare can't be combined with --model"),
        ("%%route --compare a,b --plan\nhello", "UsageError: --compare can't be combined with --plan"),
        ("%%route --compare a,b --background\nhello", "UsageError: --compare can't be combined with --background"),
        ("%route_budget 0.0001\n%route --compare a,b hello", "BudgetExceeded: "),
    ],
)
def test_an_invalid_comparison_is_an_error_and_nothing_is_sent(shell: Shell, cell: str, says: str) -> None:
    out, _ = shell.fail(cell)
    assert says in out
    assert "Traceback" not in out
    assert shell.scripted.requests == []
    assert shell.router.ledger.rows() == []


def test_a_cell_fails_if_no_model_answers(shell: Shell) -> None:
    shell.scripted.script(Failure(error=AuthFailed("<b>bad key")))
    out, error = shell.fail("%route --compare a,b hello")
    assert type(error).__name__ == "AllAttemptsFailed"
    assert "2. b  [no answer after 1 attempt: b: auth failed (<b>bad key)]" in out
    assert "Traceback" not in out


def test_every_format_of_a_comparison_has_the_same_facts_and_escapes_html(shell: Shell) -> None:
    shell.scripted.reply = lambda request: (
        Failure(error=AuthFailed("<i>no")) if request.model.id == "b" else Reply(chunks=("**Hi** <b>",))
    )
    shell.run("%route --compare a,b hello")
    formats, _ = shell.shell.display_formatter.format(shell["_route"])
    assert set(formats) == {"text/html", "text/markdown", "text/plain"}
    for text in formats.values():
        for fact in ("1. a", "2. b", "10 in, 5 out tokens", "auth failed", "total "):
            assert fact in text
    assert "<strong>Hi</strong> &lt;b&gt;" in formats["text/html"]
    assert "&lt;i&gt;no" in formats["text/html"]
    assert "minmax(360px,1fr)" in formats["text/html"], "columns that do not fit scroll"


def test_a_stop_settles_every_column(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    router = use_router(builders.router(*THREE, providers={"cloud": Stuck("one ")}))

    def stop(self: Any, states: RunStates) -> None:
        if all(state.text for state in states.values()):
            raise KeyboardInterrupt

    monkeypatch.setattr("llm_magic.jupyter.display.terminal_view.TerminalView.update", stop)
    out, error = shell.fail("%route --compare a,b hello")
    assert str(error).startswith("stopped: total <$0.001")
    assert {row.outcome for row in router.ledger.rows()} == {"cancelled"}
    assert router.ledger.held_usd == 0
    assert "1. a  [stopped after 2 tokens, about $" in out
