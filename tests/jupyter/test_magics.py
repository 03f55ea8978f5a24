"""The magics in a real IPython shell, in this process, against scripted models."""

from __future__ import annotations

import re
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_magic import Budget, RequestError, routing
from llm_magic.attachments import of_value
from llm_magic.classify import classify
from llm_magic.jupyter.magics.namespace import split_name
from llm_magic.jupyter.magics.route import RouteMagics
from llm_magic.jupyter.magics.words import split
from llm_magic.jupyter.render import bundles
from llm_magic.testing import Failure, Reply, ScriptedProvider
from llm_magic.types import Outcome
from tests.support import builders
from tests.support.builders import attempt
from tests.support.shell import Shell, loaded


def test_a_cell_is_routed_and_its_result_bound(shell: Shell) -> None:
    out = shell.run("%%route\nTranslate to French: hello")
    assert out.startswith("A scripted answer.")
    assert shell["_route"].confidence == classify("Translate to French: hello").confidence
    assert re.search(r"cheap · <\$0.001 · \d.\d s · session <\$0.001", out)
    assert shell["_route"].text == "A scripted answer."
    assert shell.scripted.requests[0].messages[0].content == "Translate to French: hello"


def test_a_line_is_sent_as_it_was_typed(shell: Shell) -> None:
    shell.run("%route --tier bulk  what's {up}  with $HOME --plan")
    assert shell.scripted.requests[0].messages[0].content == "what's {up}  with $HOME --plan"


@pytest.mark.parametrize(
    ("line", "arguments", "text"),
    [
        ("hello", [], "hello"),
        ("--plan hello --tier x", ["--plan"], "hello --tier x"),
        ("--tier bulk hello", ["--tier=bulk"], "hello"),
        ("--tier=bulk hello", ["--tier=bulk"], "hello"),
        ('--system "be kind" it\'s  me', ["--system=be kind"], "it's  me"),
        ("--tag don't Say hi", ["--tag=don't"], "Say hi"),
        ("-- -x + 3 = 0", [], "-x + 3 = 0"),
        ("-5 + 3", [], "-5 + 3"),
        ("- an item", [], "- an item"),
        ("# a heading", [], "# a heading"),
        ('"--tier" is an option', [], '"--tier" is an option'),
        ("--cascade", ["--cascade"], ""),
        ("--compare a, b hello", ["--compare=a,b"], "hello"),
        ("", [], ""),
    ],
)
def test_options_end_where_the_text_begins(line: str, arguments: list[str], text: str) -> None:
    assert split(line, RouteMagics.route, takes_text=True) == (arguments, text)


def test_every_option_reaches_the_request(shell: Shell) -> None:
    shell.run('schema = {"type": "object"}')
    shell.scripted.script(Reply(chunks=("{}",)))
    shell.run(
        '%%route --tier complex --model cheap --system "be kind" --max-tokens 77 --max-cost $0.5 --schema schema '
        "--out answer --tag one --tag two\nhello"
    )
    (sent,) = shell.scripted.requests
    assert (sent.model.id, sent.system, sent.max_output_tokens) == ("cheap", "be kind", 77)
    assert sent.schema.json_schema == {"type": "object"}
    assert shell["answer"] is shell["_route"]
    assert shell["answer"].tier == "COMPLEX"
    assert shell["answer"].data == {}
    assert shell.router.ledger.rows()[0].tags == ("one", "two")


def test_a_dataclass_is_a_schema(shell: Shell) -> None:
    shell.scripted.script(Reply(chunks=('{"name": "Ada", "age": 36}',)))
    shell.run("import dataclasses\n@dataclasses.dataclass\nclass Person:\n    name: str\n    age: int")
    shell.run("%%route --schema Person\nWho?")
    assert shell["_route"].data == shell["Person"](name="Ada", age=36)
    assert shell.scripted.requests[-1].schema.json_schema["required"] == ["name", "age"]
    shell.run("@dataclasses.dataclass\nclass Odd:\n    what: object()")
    out, _ = shell.fail("%%route --schema Odd\nWho?")
    assert "RequestError: no JSON Schema can be made of Odd" in out


def test_an_inline_schema_and_a_pydantic_model(shell: Shell) -> None:
    shell.scripted.script(Reply(chunks=('{"n": 1}',)))
    shell.run('%%route --schema \'{"type": "object"}\'\nhello')
    shell.run("import pydantic\nclass N(pydantic.BaseModel):\n    n: int")
    shell.run("%%route --schema N\nhello")
    assert shell.scripted.requests[1].schema.json_schema["properties"]["n"]["type"] == "integer"
    assert shell["_route"].data == shell["N"](n=1)
    assert shell["_route"].data.model_dump() == {"n": 1}


def test_max_cost_holds(shell: Shell) -> None:
    out, error = shell.fail("%%route --max-cost 0.0000001\nhello")
    assert type(error).__name__ == "BudgetExceeded"
    assert "Traceback" not in out
    assert "Raise the cap with %route_budget or --max-cost" in out


def test_no_stream_shows_the_complete_answer(shell: Shell) -> None:
    assert "A scripted answer." in shell.run("%%route --no-stream\nhello")


def test_a_plan_is_a_dry_run(shell: Shell) -> None:
    for cell in ("%%route --plan --tier bulk\nhello", "%route_plan --tier bulk hello"):
        out = shell.run(cell)
        assert "BULK 1.00: you asked for this tier" in out
        assert "→ cheap: $0.0" in out
        assert "nothing was sent" in out
    assert shell.scripted.requests == []
    assert shell.router.ledger.rows() == []


def test_the_cache_is_turned_on_by_option_and_by_setting(shell: Shell) -> None:
    shell.run("%%route --cache\nhello")
    out = shell.run("%%route --cache\nhello")
    assert "A scripted answer." in out
    assert "cheap · $0 · session" in out
    assert shell["_route"].cached
    shell.run("%%route\nhello")
    assert len(shell.scripted.requests) == 2
    shell.run("%config RouteMagics.cache = True")
    shell.run("%route hello")
    shell.run("%route --no-cache hello")
    assert len(shell.scripted.requests) == 3
    assert "the cache in :memory: holds the text of 1 answer, 18 bytes" in shell.run("%route_cache")
    assert "deleted 1 answer, 18 bytes" in shell.run("%route_cache --purge")
    shell.run("%route hello")
    assert len(shell.scripted.requests) == 4


def test_on_refusal_is_an_option_and_a_setting() -> None:
    provider = ScriptedProvider(
        lambda request: Reply(finish_reason="refusal") if request.model.id == "shy" else Reply(chunks=("Well.",))
    )
    models = (builders.model("shy", fallback_id="bold"), builders.model("bold", provider="other"))
    router = builders.router(*models, providers={"cloud": provider, "other": provider})
    with loaded(router, provider) as shell:
        assert "Well." in shell.run("%route --model shy hello")
        shell.fail("%route --model shy --on-refusal stop hello")
        shell.run("%config RouteMagics.on_refusal = 'stop'")
        out, error = shell.fail("%route --model shy hello")
        assert "the model refused to answer" in f"{out}{error}"
        assert "Well." in shell.run("%route --model shy --on-refusal fallback hello")
    assert [request.model.id for request in provider.requests] == ["shy", "bold", "shy", "shy", "shy", "bold"]


def test_threads_are_continued_listed_and_purged(shell: Shell) -> None:
    shell.run("%%route --thread trip\nTranslate to French: hello")
    out = shell.run("%%route --thread 'trip'\nand in Italian?")
    assert [message.content for message in shell.scripted.requests[1].messages] == [
        "Translate to French: hello", "A scripted answer.", "and in Italian?",
    ]  # fmt: skip
    assert "a short follow-up keeps the tier of the prompt before it" in shell["_route"].reasons
    assert "history: " in out
    assert "(1 exchange)" in out
    assert "history: " in shell.run("%route --plan --thread trip and in German")
    shell.run("threads = %route_threads\ntrip = %route_threads trip")
    assert list(shell["threads"].index) == ["trip"]
    assert list(shell["threads"]["exchanges"]) == [2]
    assert list(shell["trip"]["prompt"]) == ["Translate to French: hello", "and in Italian?"]
    assert list(shell["trip"]["model"]) == ["cheap", "cheap"]
    out, _ = shell.fail("%route_threads holiday")
    assert "RequestError: no thread 'holiday': there are trip" in out
    shell.run("%config RouteMagics.thread_tokens = 100")
    shell.run("%route --thread trip go on")
    assert shell.run("%route_threads trip --purge") == "deleted 3 exchanges\n"
    assert shell.run("%route_threads --purge") == "deleted 0 exchanges\n"
    shell.run("threads = %route_threads")
    assert len(shell["threads"]) == 0
    out, _ = shell.fail("%route --compare strong,cheap --thread trip hello")
    assert "--compare can't be combined with --thread" in out


def test_every_view_of_a_long_thread_states_the_exchanges_left_out(shell: Shell) -> None:
    shell.run("%config RouteMagics.thread_tokens = 1000")
    for number in range(5):
        shell.run(f"%%route --thread long\n{number} " + "word " * 400)
    shell.run("threads = %route_threads\nlong = %route_threads long")
    threads, long = shell["threads"], shell["long"]
    assert list(threads["exchanges"]) == [5]
    assert list(long["sent"]) == [False] * int(threads["left_out"].iloc[0]) + [True] * int(sum(long["sent"]))
    assert 0 < threads["left_out"].iloc[0] < 5
    assert threads["tokens"].iloc[0] == sum(long["tokens"])
    assert threads["sent_tokens"].iloc[0] == sum(long["tokens"][long["sent"]]) <= 1000
    sent, left = int(sum(long["sent"])), threads["left_out"].iloc[0]
    message = f"({sent} exchange{'s' * (sent != 1)}, the {left} oldest left out)"
    plan = shell.run("%route --plan --thread long go on")
    assert f"history: {shell['_'].extras[0].tokens:,} tokens, $0.0" in plan
    assert message in plan
    assert message in shell.run("%route --thread long go on")
    assert len(shell.scripted.requests[-1].messages) == 2 * sent + 1


def test_caps_are_set_shown_and_removed(shell: Shell) -> None:
    assert "no cap" in shell.run("%route_budget")
    assert "cap $0.50, $0.50 left" in shell.run("%route_budget $0.50")
    assert "cap $2.00, $2.00 left" in shell.run("%route_budget 2")
    assert "no cap" in shell.run("%route_budget off")
    for bad in ("-1", "nan", "5 USD", "much"):
        out, _ = shell.fail(f"%route_budget {bad}")
        assert f"UsageError: invalid AMOUNT {bad}: must be a USD amount of zero or more" in out
    assert shell.router.budget.session_usd is None


def test_a_cap_below_what_is_spent_is_said_to_be_passed(shell: Shell) -> None:
    shell.run("%route --tier complex hello")
    out = shell.run("%route_budget 0.0000001 --day 0.0000002")
    assert re.search(r"cap \$0\.00000010, already passed by \$0\.\d+", out)
    assert re.search(r"today's cap \(UTC\) of \$0\.00000020: already passed by \$0\.\d+", out)
    assert "$0 left" not in out


def test_shadow_runs_have_a_line_if_they_are_on_or_their_cap_is_set(shell: Shell) -> None:
    assert "shadow" not in shell.run("%route_budget")
    assert "shadow runs: spent and held $0, cap $2.00, $2.00 left" in shell.run("%route_budget --shadow 2")
    assert "shadow runs: spent and held $0, no cap of their own" in shell.run("%route_budget --shadow off")
    assert "shadow" not in shell.run("%route_budget --shadow 1")
    shell.run("%config RouteMagics.shadow = 0.1")
    assert "shadow runs: spent and held $0, cap $1.00" in shell.run("%route_budget")


def test_a_cap_for_every_scope(shell: Shell) -> None:
    out = shell.run("%route_budget 2 --run 0.5 --day 3 --month 40 --model strong=1 --tag batch=0.00001")
    assert "each run: $0.50 at most" in out
    for scope, limit in (
        ("today's cap (UTC)", "3.00"),
        ("this month's cap (UTC)", "40.00"),
        ("the cap on strong", "1.00"),
    ):
        assert f"{scope} of ${limit}: ${limit} left" in out
    assert "the cap on the tag batch of $0.000010: $0.000010 left" in out
    _, error = shell.fail("%%route --tag batch\nhello")
    assert error.scope == "tag"  # type: ignore[attr-defined]
    shell.run("%%route --tag other\nhello")
    out = shell.run("%route_budget off --run off --day off --month off --model strong=off --tag batch=off")
    assert out.count("\n") == 1, out
    assert "held $0, no cap" in out


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("--day much", "invalid --day much: must be a USD amount of zero or more, such as 5 or 0.50, or off"),
        ("--model strong", "invalid --model strong: must be ID=USD, such as ID=0.50"),
        ("--model nobody=1", "no model 'nobody': the registry has strong, cheap"),
        ("--tag =1", "invalid --tag =1: must be WORD=USD"),
        ("7 --tag batch=-1", "invalid --tag batch=-1: must be a USD amount"),
        ("--reconcile forget", "invalid --reconcile forget: must be charge or release"),
        ("--day", "--day needs a value: --day USD"),
    ],
)
def test_an_invalid_cap_changes_nothing(shell: Shell, line: str, says: str) -> None:
    out, _ = shell.fail(f"%route_budget {line}")
    assert f"UsageError: {says}" in out or says in out
    assert shell.router.budget == Budget()


@pytest.mark.parametrize(("how", "spent"), [("charge", "0.30"), ("release", "0")])
def test_uncertain_attempts_are_shown_and_closed_on_request_only(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, how: str, spent: str
) -> None:
    ledger = shell.router.ledger
    monkeypatch.setattr("llm_magic.ledger.owners.process_name", lambda pid: "elsewhere 1 1.0")
    ledger.hold(attempt(outcome=Outcome.IN_FLIGHT, session_id=ledger.session_id), Decimal("0.3"), ())
    ledger.clock = lambda: time.time() + 10_000
    for _ in range(2):
        out = shell.run("%route_budget 1")
        assert "held $0.30, cap $1.00, $0.70 left" in out
        assert "uncertain: 1 attempt of a process that died, holding $0.30." in out
    out = shell.run(f"%route_budget --reconcile {how}")
    assert out.startswith("1 uncertain attempt counted as ")
    assert f"spent ${spent}, held $0" in out
    assert shell.run("%route_budget --reconcile charge").startswith("nothing is uncertain")


@pytest.mark.parametrize("line", ["--out print", "print <<"])
def test_a_name_that_hides_a_builtin_is_a_warning(shell: Shell, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    shell.shell.run_cell(f"%%route {line}\nhello")
    assert "warning: print now hides Python's print; del print restores it" in capsys.readouterr().err
    assert shell["print"] is shell["_route"]


def test_the_hedge_option_is_in_seconds(shell: Shell) -> None:
    shell.run("%%route --hedge 2.5\nhello")
    assert len(shell.router.ledger.rows()) == 1, "the first token was in time"
    for bad in ("soon", "-1"):
        out, _ = shell.fail(f"%%route --hedge {bad}\nhello")
        assert f"invalid --hedge {bad}: must be a number of seconds, zero or more" in out


def test_python_and_magics_share_one_router(shell: Shell) -> None:
    shell.run("%route_budget 3\nimport llm_magic\nllm_magic.router().route_sync('hello')")
    assert shell.router.budget.session_usd == 3
    assert len(shell.router.ledger.rows()) == 1
    shell.run("result = await llm_magic.router().route('hello')")
    assert shell["result"].text == "A scripted answer."


def test_a_given_router_replaces_that_of_the_session(shell: Shell) -> None:
    own = builders.router(replies=[Reply(chunks=("mine",))])
    shell.shell.user_ns["own"] = own
    shell.run("import llm_magic\n_ = llm_magic.use_router(own)")
    assert shell.run("%route hello").startswith("mine")
    assert len(own.ledger.rows()) == 1


def test_ledger_and_models_are_dataframes(shell: Shell) -> None:
    shell.run("%route hello")
    shell.run("ledger = %route_ledger\nmine = %route_ledger --session\nmodels = %route_models")
    for name in ("ledger", "mine", "models"):
        assert isinstance(shell[name], pd.DataFrame)
    assert list(shell["ledger"]["outcome"]) == ["ok"]
    assert list(shell["models"]["usable"]) == [True, True]
    shell.scripted.unavailable_reason = "no CLOUD_KEY"
    shell.run("models = %route_models")
    assert list(shell["models"]["why_not"]) == ["no CLOUD_KEY"] * 2


def test_models_are_checked_with_their_providers(shell: Shell) -> None:
    shell.run("checks = %route_models --check")
    assert list(shell["checks"]["status"]) == ["not asked"] * 2
    assert list(shell["checks"]["detail"]) == ["it has no list of models"] * 2
    assert shell.scripted.requests == []


def test_interpolated_values_do_not_influence_the_tier(shell: Shell) -> None:
    shell.run("class Box:\n    text = 'Prove this theorem'\nbox = Box()\nname = 'Ada'")
    shell.run("%%route\nTranslate to French: {{name}} {x} {{ box.text }} {{{name}}} {% raw %}")
    assert shell.scripted.requests[0].messages[0].content == (
        "Translate to French: Ada {x} Prove this theorem {Ada} {% raw %}"
    )
    assert shell["_route"].tier == "BULK"
    shell.run("%%route --no-interpolate\nTranslate to French: {{nothing}}")
    assert shell.scripted.requests[1].messages[0].content == "Translate to French: {{nothing}}"
    for cell, says in (
        ("{{nothing}}", "no variable 'nothing' is defined"),
        ("{{box.lid}}", "'box' has no attribute 'lid'"),
        ("{{box.__class__}}", "{{box.__class__}}: attributes that begin with _ are not read"),
    ):
        out, error = shell.fail(f"%%route\n{cell}")
        assert says in str(error)
        assert "Traceback" not in out


def test_a_line_magic_returns_its_result_if_it_is_assigned(shell: Shell) -> None:
    shell.run("answer = %route hello")
    assert shell["answer"] is shell["_route"]
    shell.run("texts = []\nfor word in ('a', 'b'):\n    one = %route --tier bulk hello\n    texts.append(one.text)")
    assert shell["texts"] == ["A scripted answer."] * 2
    assert "Out[" not in shell.run("%route hello"), "it has been shown already"
    assert "Out[" not in shell.run("%%route\nhello")
    assert "Out[" not in shell.run("if True:\n    %route hello")


def test_a_name_bound_by_out_is_listed_by_who(shell: Shell) -> None:
    shell.run("%route --tier bulk --out answer hello\n%route_again --out better\nmine = %who_ls")
    assert set(shell["mine"]) == {"answer", "better"}


def test_a_name_before_the_options_of_a_cell_binds_the_result(shell: Shell) -> None:
    for line in ("answer <<", "answer<< --tier bulk", " answer  << --tier bulk --tag x"):
        shell.shell.user_ns.pop("answer", None)
        shell.run(f"%%route {line}\nprint(1 << 3)\nb << c")
        assert shell["answer"] is shell["_route"]
        assert shell.scripted.requests[-1].messages[0].content == "print(1 << 3)\nb << c"
    plan = shell.shell.run_cell("%%route plan << --plan\nhello").result
    assert "nothing was sent" in bundles.plan(plan)["text/plain"]
    with_line = shell.run("%route answer << hello")
    assert with_line
    assert shell.scripted.requests[-1].messages[0].content == "answer << hello", "a line is its prompt"


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("%%route 3x <<\nhello", "UsageError: invalid --out 3x: must be the name of a variable"),
        ("%%route class << --tier bulk\nhello", "UsageError: invalid --out class: must be the name of a variable"),
        ("%%route a.b <<\nhello", "UsageError: invalid --out a.b: must be the name of a variable"),
        ("%%route a << --out b\nhello", "UsageError: a << and --out b both name the result: give one of them"),
        ("%%route a b << --tier bulk\nhello", "UsageError: unrecognized arguments: a b <<"),
        ("%%route << --tier bulk\nhello", "UsageError: unrecognized arguments: <<"),
        ("%%route a << b\nhello", "UsageError: unrecognized arguments: b"),
    ],
)
def test_an_invalid_name_is_an_error(shell: Shell, cell: str, says: str) -> None:
    out, _ = shell.fail(cell)
    assert says in out
    assert shell.scripted.requests == []


_NAMES = st.from_regex(r"[^\W\d]\w{0,9}", fullmatch=True)


@given(_NAMES, st.sampled_from(["", " ", "  \t"]), st.text(alphabet="-ab <\"'=.", max_size=20))
def test_the_name_is_split_off_any_options(name: str, space: str, rest: str) -> None:
    assert split_name(f"{space}{name}{space}<<{rest}") == (name, rest)


@given(st.text(alphabet="-ab <\"'=.", max_size=20))
def test_options_without_a_name_are_unchanged(rest: str) -> None:
    for line in (f"--system {rest}", f"-{rest}", f"'{rest}", f'"{rest}', f" --tag a<<{rest}"):
        assert split_name(line) == (None, line)


def test_ipython_does_not_assign_the_result_of_a_cell_magic(shell: Shell) -> None:
    """`name << %%route` is no syntax of IPython's: a cell magic must be the first thing in its cell."""
    _, error = shell.fail("answer << %%route\nhello")
    assert isinstance(error, SyntaxError)
    assert shell.scripted.requests == []


@pytest.mark.parametrize(
    "braces",
    [
        "{{rows.count(1)}}", "{{rows[0]}}", '{{d["a"]}}', "{{In[1]}}", "{{1 + 1}}", "{{}}", "{{ }}", "{{f()}}", "{{rows }} {{!x}}",
        '{{f"{x}"}}', "{{a b}}", "{{rows|length}}", "{{\n  color: red\n}}", "{{'a'}}", "{{0}}", "{{rows.}}", "{{*rows}}",
    ],
)  # fmt: skip
def test_anything_but_a_name_in_double_braces_is_an_error_with_a_hint(shell: Shell, braces: str) -> None:
    shell.run("def f():\n    raise AssertionError\nrows, d = [1, 2], {'a': 1}")
    out, error = shell.fail(f"%%route\nSum up {braces} please")
    assert isinstance(error, RequestError)
    assert "only a name and its attributes are replaced" in out
    assert "--no-interpolate" in out
    assert shell.scripted.requests == []
    shell.run(f"%%route --no-interpolate\nSum up {braces} please")
    assert shell.scripted.requests[0].messages[0].content == f"Sum up {braces} please"


def test_single_braces_and_stray_double_braces_are_text(shell: Shell) -> None:
    text = "set {x} {a: {b: 1}} \\frac{a}{b} {{ alone " + "x" * 400 + " }}"
    shell.run(f"%%route\n{text}")
    assert shell.scripted.requests[0].messages[0].content == text


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("%%route --nope\nhello", "UsageError: unrecognized arguments: --nope"),
        (
            "%%route --tier hard\nhello",
            "UsageError: invalid --tier hard: must be one of COMPLEX, STANDARD, STRUCTURED, BULK",
        ),
        ("%%route --max-tokens many\nhello", "UsageError: invalid --max-tokens many: must be a whole number"),
        ("%%route --quality good\nhello", "UsageError: invalid --quality good: must be a share from 0"),
        ("%%route --hedge soon\nhello", "UsageError: invalid --hedge soon: must be a number of seconds"),
        ("%%route --worth much\nhello", "UsageError: invalid --worth much: must be a USD amount"),
        ("%%route --tier\nhello", "UsageError: --tier needs a value: --tier TIER"),
        ("%%route --tier --plan\nhello", "UsageError: --tier needs a value: --tier TIER"),
        ("%%route --plan=1\nhello", "UsageError: --plan takes no value: write --plan alone, not --plan=1"),
        ('%%route --system "be brief\nhello', 'UsageError: --system "be brief: the quote is not closed'),
        ('%%route --system="be brief\nhello', 'UsageError: --system "be brief: the quote is not closed'),
        ("%route --tag 'tis so", "UsageError: --tag 'tis so: the quote is not closed"),
        ("%%route --max-tokens 0\nhello", "UsageError: invalid --max-tokens 0: must be a whole number of at least 1"),
        ("%%route --max-cost much\nhello", "UsageError: invalid --max-cost much: must be a USD amount"),
        (
            "%%route --schema nothing\nhello",
            "UsageError: invalid --schema nothing: must be the name of a variable in the notebook",
        ),
        ("%%route --out 3x\nhello", "UsageError: invalid --out 3x: must be the name of a variable"),
        ("%%route --out class\nhello", "UsageError: invalid --out class: must be the name of a variable"),
        ("%%route --tag a,b\nhello", "RequestError: the tag 'a,b' must be a word without commas"),
        ("%%route --model gpt-1\nhello", "UsageError: invalid --model gpt-1: must be one of strong, cheap"),
        ("%%route --model strong,cheap\nhello", "cheap. --compare strong,cheap asks several"),
        ("%%route --judge gpt-1\nhello", "UsageError: invalid --judge gpt-1: must be one of strong, cheap"),
        ("%%route --last-resort gpt-1\nhello", "UsageError: invalid --last-resort gpt-1: must be one of strong"),
        (
            "%%route --compare gpt-1,cheap\nhello",
            "UsageError: invalid --compare gpt-1: must be tiers, or one of strong",
        ),
        ("%%route --cascade=vote\nhello", "UsageError: invalid --cascade vote: must be one of agree"),
        ("%%route --over nothing\nhello", "UsageError: invalid --over nothing: must be the name of a variable"),
        ("%%route --over ope\nhello", "must be the name of a variable in the notebook\n"),
        ("%%route\n{{qui}}", "or keep the braces with --no-interpolate.\n"),
        ("%%route --attach none.txt\nhello", "none.txt' can't be attached: No such file or directory. Check its path"),
        ("%%route --pilot 3\nhello", "UsageError: --pilot needs --over NAME"),
        ("%%route\n \n", "RequestError: the prompt is empty"),
        ("%route", "UsageError: the prompt is empty: write it after the options, or below %%route"),
        ("%%route\na\0b", "RequestError: the prompt has a NUL byte at character 1"),
        ("%route_models all", "UsageError: unrecognized arguments: all"),
        ("%route_ledger --nope", "UsageError: unrecognized arguments: --nope"),
    ],
)
def test_a_usage_error_is_one_line_and_nothing_is_sent(shell: Shell, cell: str, says: str) -> None:
    out, _ = shell.fail(cell)
    assert says in out
    assert "Traceback" not in out
    assert shell.scripted.requests == []
    assert shell.router.ledger.rows() == []


def test_a_lone_surrogate_and_a_50_mb_cell_are_rejected(shell: Shell) -> None:
    shell.run("half = '\\ud800'\nhuge = 'word ' * 10_000_000")
    out, _ = shell.fail("%%route\n{{half}}")
    assert "RequestError: the prompt contains a lone surrogate at character 0" in out
    out, _ = shell.fail("%%route\n{{huge}}")
    assert "RequestError: the prompt has 50,000,000 characters, more than any model reads" in out


def test_an_error_in_python_code_keeps_its_traceback(shell: Shell) -> None:
    out, _ = shell.fail("llm_magic = __import__('llm_magic')\nllm_magic.router().route_sync('')")
    assert "Traceback" in out


def test_a_failure_shows_its_path_and_stops(shell: Shell) -> None:
    from llm_magic import AuthFailed

    shell.scripted.script(Failure(error=AuthFailed("HTTP 401: bad key")))
    out, error = shell.fail("%%route --tier bulk\nhello")
    assert type(error).__name__ == "AllAttemptsFailed"
    assert "path: ✗ cheap: auth failed → ✗ strong: auth failed" in out
    assert "AllAttemptsFailed: no answer after 2 attempts: cheap: auth failed (HTTP 401: bad key)" in out
    assert "Traceback" not in out
    assert (shell["_route"].outcome, shell["_route"].finish_reason) == (Outcome.AUTH_FAILED, "failed")


def test_a_broken_stream_starts_again_visibly_in_a_terminal(shell: Shell) -> None:
    from llm_magic import StreamBroken

    replies = [Failure(error=StreamBroken("x"), chunks=("half an ",)), Reply(chunks=("whole",))]
    shell.scripted.script(*replies)
    out = shell.run("%%route --tier bulk\nhello")
    assert out.startswith("half an \n[the answer broke off; starting again with cheap]\nwhole")


def test_control_characters_do_not_reach_the_terminal(shell: Shell) -> None:
    shell.scripted.script(Reply(chunks=("a\x1b]0;evil\x07b\x9bc",)))
    assert shell.run("%%route --tier bulk\nhello").startswith("a]0;evilbc")


def test_control_characters_of_a_displayed_value_do_not_reach_the_terminal(shell: Shell) -> None:
    shell.scripted.script(Reply(chunks=("a\x1b]0;evil\x07b",), served_model="m\x9b31m"))
    shell.run("%route --tier bulk --tag t hello\n%route --compare strong,cheap hello")
    formats = shell.shell.display_formatter.format
    comparison = shell["_route"]
    plan = shell.router.plan("hello", attach=[of_value("n\x1b]0;evil\x07", "x")])
    for value in (plan, comparison, comparison.columns[0].result, shell.router.ledger.report()):
        text = formats(value)[0]["text/plain"]
        assert text
        assert not set(text) & set("\x1b\x07\x9b"), text


def magics_of(shell: Shell) -> dict[str, Any]:
    """Return every magic of llm_magic by its name as it is typed."""
    kinds = shell.shell.magics_manager.magics
    methods = {f"%{name}": method for name, method in kinds["line"].items() if name.startswith("route")}
    return {**methods, "%%route": kinds["cell"]["route"]}


def test_help_describes_every_option(shell: Shell) -> None:
    """Whole sentences, and an example of every magic that takes something."""
    for name, method in magics_of(shell).items():
        shown = shell.shell.inspector.info(method, oname=name)["docstring"]
        assert "%%%" not in shown
        message = next(line for line in shown.splitlines() if line and not line.startswith((":", " ")))
        assert message[0].isupper(), name
        if name == "%route_panel":
            continue
        assert re.search(rf"Examples?:[^:]*{name.replace('%route', '%?%route', 1)}\b", shown), name
        if (parser := getattr(method, "parser", None)) is None:
            continue
        assert shown.startswith(f"::\n\n  {'%%route' if name == '%route' else name} ")
        for action in parser._actions:
            help_text = action.help % vars(action)
            assert help_text[0].isupper() or help_text.startswith("charge or"), (name, help_text)
            assert help_text.endswith("."), (name, help_text)


def test_the_examples_of_the_help_run(shell: Shell) -> None:
    """Each parses, and asks for nothing that is not there."""
    examples = [
        line.strip()
        for method in magics_of(shell).values()
        for shown in re.findall(r"(?s)Examples?:(.*?)(?:\n\w+ ?\w*:|\Z)", method.__doc__ or "")
        for line in shown.splitlines()
        if re.match(r"\s*(\w+ = )?%", line)
    ]
    assert len(examples) > 15
    for example in examples:
        name, line = re.fullmatch(r"(?:\w+ = )?%{1,2}(\w+) ?(.*)", example).groups()  # type: ignore[union-attr]
        parser = getattr(magics_of(shell)[f"%{name}"], "parser", None)
        if name in ("route", "route_plan"):
            _, line = split_name(line)
            arguments, _ = split(line, RouteMagics.route, takes_text=True)
            RouteMagics.route.parser.parse_args(arguments)
        elif parser is not None:
            parser.parse_argstring(line)


def test_a_result_within_a_list_is_one_short_line(shell: Shell) -> None:
    shell.run("%route --tier bulk --out r hello")
    out = shell.run("[r, r]")
    assert out.count("RouteResult(model='cheap', text='A scripted answer.', cost_usd=Decimal(") == 2
    assert "attempts" not in out


def test_plans_and_results_show_themselves(shell: Shell) -> None:
    formats = shell.shell.display_formatter.format
    bundle, _ = formats(shell.router.plan("Translate <b> to French", tier="bulk"))
    assert set(bundle) == {"text/html", "text/markdown", "text/plain"}
    assert "<table>" in bundle["text/html"]
    bundle, _ = formats(shell.router.route_sync("hello", tier="bulk"))
    assert "A scripted answer." in bundle["text/html"]
    assert "BULK: you asked for this tier" in bundle["text/plain"]


def test_a_broken_models_toml_is_a_short_error_and_can_be_fixed(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, clean_environment: Path
) -> None:
    routing.reset_session()
    clean_environment.mkdir()
    file = clean_environment / "models.toml"
    file.write_text("[models")
    for cell in ("%route hello", "%route_budget", "%route_ledger", "%route_models"):
        out, _ = shell.fail(cell)
        assert f"RegistryError: {file}: not valid TOML" in out
        assert "Traceback" not in out
    file.unlink()
    shell.run("%route_budget")


def test_a_ledger_that_can_not_be_opened_is_a_short_error(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    routing.reset_session()
    monkeypatch.setenv("LLM_MAGIC_LEDGER", "/")
    out, _ = shell.fail("%route hello")
    assert "LedgerError: the ledger / can't be opened" in out
    assert "Traceback" not in out


def test_a_cell_runs_a_cascade(shell: Shell) -> None:
    shell.scripted.reply = lambda request: Reply(chunks=("42",) if request.model.id == "strong" else ("41",))
    shell.run("%%route --tier complex --cascade=twice\nhow many?")
    out = shell.run("def right(text):\n    return text == '42'")
    out = shell.run("%%route --tier complex --check right\nhow many?")
    assert "path: – cheap: superseded → ✓ strong" in out
    assert "cheap: the check failed; asked strong" in out
    assert "42" in out
    assert "41" not in out
    assert [row.outcome for row in shell.router.ledger.rows()] == ["ok", "agreed", "superseded", "ok"]
    out = shell.run("%%route --tier complex --judge strong\nhow many?")
    assert "path: – cheap: superseded → ✓ strong: judged → ✓ strong" in out


def test_a_plan_shows_its_cascade(shell: Shell) -> None:
    shell.run("plan = %route_plan --tier complex --cascade how many things")
    assert shell["plan"].request.prompt == "how many things"
    assert "cascade: cheap and cheap first, kept if they agree (about " in bundles.plan(shell["plan"])["text/html"]
    assert (
        "no cascade: no usable model is cheaper than cheap"
        in (bundles.plan(shell.router.plan("x", tier="bulk", cascade=True))["text/plain"])
    )


@pytest.mark.parametrize("magic", ["%route_ledger", "%route_report"])
def test_a_tag_without_rows_is_named(shell: Shell, magic: str) -> None:
    shell.run("%%route --tag draft\nhello")
    out = shell.run(f"{magic} --tag nosuch")
    value = shell.run(f"rows = {magic} --tag nosuch") or shell["rows"].caption
    assert "no rows with the tag 'nosuch'" in (out or value)


def test_a_generic_type_is_a_schema(shell: Shell) -> None:
    shell.fail("%%route --schema dict[str, list[int] | None] --tag x\nhello")
    sent = shell.scripted.requests[-1]
    assert sent.schema.json_schema["type"] == "object"


@pytest.mark.parametrize(
    ("options", "message"),
    [("--check nobody", "must be the name of a variable"), ("--judge nobody", "invalid --judge nobody: must be one of strong, cheap"), ("--cascade=vote", "--cascade vote: must be one of agree"), ("--cascade=check", "requires check=")],
)  # fmt: skip
def test_an_invalid_cascade_is_an_error(shell: Shell, options: str, message: str) -> None:
    _, error = shell.fail(f"%%route {options}\nhello")
    assert message in str(error)


def test_tuning_is_previewed_applied_and_undone(shell: Shell) -> None:
    assert "Nothing to learn from yet" in shell.run("%route_tune")
    for _ in range(12):
        shell.run("%%route --tier bulk\nhello")
        shell.router.ledger.rate(shell["_route"].run_id, -1)
    out = shell.run("%route_tune")
    assert "cheap, BULK: 90% → " in out
    assert "(12 rated bad)" in out
    assert "Nothing is applied yet. %route_tune --apply applies this." in out
    assert shell.router.registry["cheap"] == shell.router.base_registry["cheap"]
    assert "Applied from now on" in shell.run("%route_tune --apply")
    assert shell.router.registry["cheap"].capability["BULK"] < shell.router.base_registry["cheap"].capability["BULK"]
    assert shell.router.plan("x").ranked, "the plan uses it"
    assert "This is what is applied." in shell.run("%route_tune")
    assert "Undone" in shell.run("%route_tune --reset")
    assert shell.router.registry["cheap"] == shell.router.base_registry["cheap"]
    assert "nothing to undo" in shell.run("%route_tune --reset")
    _, error = shell.fail("%route_tune --apply --reset")
    assert "not both" in str(error)
