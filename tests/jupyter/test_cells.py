"""Cells as people write them: where the magic stands, which variables it sees, how its line is quoted."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import pytest

from llm_magic import AllAttemptsFailed, BudgetExceeded
from llm_magic.errors import Refused
from llm_magic.jupyter.magics.words import words_of
from llm_magic.jupyter.render import bundles
from llm_magic.testing import Failure, Reply
from llm_magic.types import Outcome, RouteResult
from tests.support.shell import Shell


def sent(shell: Shell) -> list[str]:
    return [request.messages[-1].content for request in shell.scripted.requests]


# Local variables.

LINE = "r = %route --tier bulk Answer: {{q}}\n"


@pytest.mark.parametrize(
    ("definition", "call"),
    [
        (f"def ask(q):\n    {LINE}    return r", "ask('local')"),
        (f"def ask():\n    q = 'local'\n    {LINE}", "ask()"),
        (f"class A:\n    q = 'local'\n    {LINE}", "pass"),
        (f"class A:\n    def ask(self, q):\n        {LINE}", "A().ask('local')"),
        (f"async def ask(q):\n    {LINE}", "await ask('local')"),
        (f"def ask(q):\n    def inner():\n        {LINE}    inner()", "ask('local')"),
        ("ask = lambda q: get_ipython().run_line_magic('route', '--tier bulk Answer: {{q}}')", "ask('local')"),
        ("def ask(q):\n    get_ipython().run_cell_magic('route', '--tier bulk', 'Answer: {{q}}')", "ask('local')"),
        ("def ask():\n    [get_ipython().run_line_magic('route', 'Answer: {{q}}') for q in ['local']]", "ask()"),
        ("def ask(q):\n    [get_ipython().run_line_magic('route', 'Answer: {{q}}') for _ in [1]]", "ask('local')"),
        ("def ask(q):\n    list(get_ipython().run_line_magic('route', 'Answer: {{q}}') for _ in [1])", "ask('local')"),
        (f"def ask(q):\n    try:\n        raise ValueError\n    except ValueError:\n        {LINE}", "ask('local')"),
        (f"def ask(q):\n    for q in ['local']:\n        {LINE}", "ask('other')"),
        (f"def ask(q):\n    global r\n    {LINE}", "ask('local')"),
    ],
)  # fmt: skip
def test_a_local_variable_hides_the_notebooks(shell: Shell, definition: str, call: str) -> None:
    shell.run(f"q = 'global'\n{definition}")
    shell.run(call)
    assert sent(shell) == ["Answer: local"]


def test_a_local_variable_that_is_not_assigned_yet_is_an_error_as_in_python(shell: Shell) -> None:
    shell.run(f"q = 'global'\ndef ask():\n    {LINE}    q = 1")
    _, error = shell.fail("ask()")
    assert "no variable 'q' is defined" in str(error)
    assert sent(shell) == []


def test_a_method_does_not_see_the_names_of_its_class(shell: Shell) -> None:
    shell.run(f"q = 'global'\nclass A:\n    q = 'class'\n    def ask(self):\n        {LINE}    ask(None)")
    assert sent(shell) == ["Answer: global"]


def test_a_thread_sees_the_variables_of_its_function(shell: Shell) -> None:
    shell.run(f"q = 'global'\ndef ask(q):\n    {LINE}")
    shell.run("import threading\none = threading.Thread(target=ask, args=('local',))\none.start()\none.join()")
    assert sent(shell) == ["Answer: local"]
    assert threading.active_count() >= 1


def test_a_module_sees_its_own_globals(shell: Shell) -> None:
    shell.run("q = 'notebook'\nimport types\nm = types.ModuleType('m')\nm.get_ipython = get_ipython")
    shell.run(
        "m.q = 'module'\nexec(\"def ask():\\n get_ipython().run_line_magic('route', 'Answer: {{q}}')\", m.__dict__)"
    )
    shell.run("m.ask()")
    assert sent(shell) == ["Answer: module"]


def test_attachments_schemas_and_checks_are_taken_from_the_function(shell: Shell) -> None:
    shell.scripted.script(Reply(chunks=('{"n": 1}',)))
    shell.run("import pandas as pd\nframe = pd.DataFrame({'a': ['global']})\nschema = {'type': 'array'}\ncheck = None")
    shell.run(
        "def ask():\n    frame = pd.DataFrame({'a': ['local']})\n    schema = {'type': 'object'}\n"
        "    r = %route --attach {{frame}} --schema schema Sum up\n    return r"
    )
    shell.run("data = ask().data")
    assert shell["data"] == {"n": 1}
    assert "local" in sent(shell)[0]
    shell.run("def ask():\n    seen = []\n    check = lambda text: seen.append(text) or True\n"
              "    r = %route --cascade=check --check check --tier complex Prove it\n    return seen")  # fmt: skip
    shell.run("seen = ask()")
    assert shell["seen"]


def test_an_attribute_is_attached(shell: Shell) -> None:
    shell.run("import types\nbox = types.SimpleNamespace(note='in the box')")
    shell.run("%route --attach {{box.note}} Sum up")
    assert "in the box" in sent(shell)[0]
    out, _ = shell.fail("%route --attach {{box.nota}} Sum up")
    assert "{{box.nota}}: 'box' has no attribute 'nota'. Did you mean {{box.note}}?" in out
    out, _ = shell.fail("%route --attach {{bx}} Sum up")
    assert "invalid --attach bx: must be the name of a variable" in out
    assert "Did you mean {{box}}?" in out


@pytest.mark.parametrize("name", ["größe", "переменная", "変数", "re\u0301sume\u0301", "_private"])
def test_a_name_may_have_any_letters_of_python(shell: Shell, name: str) -> None:
    shell.run(f"{name} = 'value'")
    shell.run(f"%%route\nAnswer: {{{{{name}}}}}")
    assert sent(shell) == ["Answer: value"]


@pytest.mark.parametrize(
    "value",
    ["(x for x in [1])", "lambda: 1", "object()", "iter([1])", "__import__('io').StringIO()", "memoryview(b'')"],
)
def test_a_value_without_text_is_refused(shell: Shell, value: str) -> None:
    shell.run(f"v = {value}")
    out, _ = shell.fail("%%route\nSum up: {{v}}")
    assert "has no text, only <" in out
    assert sent(shell) == []


def test_the_key_of_a_dict_is_named_if_it_is_read_as_an_attribute(shell: Shell) -> None:
    shell.run("d = {'k': 1}")
    out, _ = shell.fail("%%route\nSum up: {{d.k}}")
    assert "{{d.k}}: 'd' has no attribute 'k'. Assign d['k'] to a variable first" in out


# The place of the magic in its cell.


@pytest.mark.parametrize(
    "above",
    [
        "# ask", "# %%", "#%%time", '"""doc"""', "'''doc\nstring'''", "import os", "\n\n", "# a\n\n# b", "x = 1\n",
        "def f():\n    return 1", "if True:\n    y = 2", "%matplotlib --list", "!true", "# ask\n  ", "x = [\n1,\n]",
    ],
)  # fmt: skip
def test_a_cell_magic_may_follow_comments_and_code(shell: Shell, above: str) -> None:
    shell.run(f"{above}\n%%route --tier bulk\nName three colors.\nAnd {{braces}}: don't")
    assert sent(shell) == ["Name three colors.\nAnd {braces}: don't"]


@pytest.mark.parametrize(
    "magic",
    ["%%time", "%%capture", "%%timeit -n1 -r1", "# a comment\n%%time", "import os\n%%time\n%%capture out", "%%prun -q"],
)
def test_other_cell_magics_may_stand_above(shell: Shell, magic: str) -> None:
    shell.run(f"{magic}\n%%route --tier bulk\nName three colors.")
    assert "Name three colors." in sent(shell)


@pytest.mark.parametrize(
    "cell",
    [
        "%route Hi", "%%route\nHi", "%time %route Hi", "%%time\n%route Hi", "%%time\n%%route\nHi", "%%time\n%%time\n%route Hi",
        "get_ipython().run_cell_magic('route', '', 'Hi')", "x = %time %route Hi", "# note\n%%time\n%%route\nHi",
    ],
)  # fmt: skip
def test_an_answer_is_displayed_once(shell: Shell, cell: str) -> None:
    assert shell.run(cell).count("A scripted answer.") == 1


@pytest.mark.parametrize(
    "code",
    [
        "r = get_ipython().run_cell_magic('route', '', 'Hi')",
        "r = (lambda: get_ipython().run_cell_magic('route', '', 'Hi'))()",
        "[r] = [\nget_ipython().run_cell_magic('route', '', q)\nfor q in ['Hi']\n]",
        "[r] = [\nget_ipython().run_line_magic('route', q)\nfor q in ['Hi']\n]",
        "def ask():\n    return get_ipython().run_cell_magic('route', '', 'Hi')\nr = ask()",
        "import functools\nr = functools.partial(get_ipython().run_cell_magic, 'route', '')('Hi')",
        "import asyncio\nasync def ask():\n    return get_ipython().run_cell_magic('route', '', 'Hi')\n[r] = await asyncio.gather(ask())",
        "import concurrent.futures as f\nwith f.ThreadPoolExecutor() as p:\n"
        "    [r] = p.map(lambda q: get_ipython().run_cell_magic('route', '', q), ['Hi'])",
        "r = %time %route Hi",
    ],
)  # fmt: skip
def test_a_call_of_a_magic_returns_the_result(shell: Shell, code: str) -> None:
    shell.run(code)
    assert isinstance(shell["r"], RouteResult)


def test_options_may_continue_on_the_next_line(shell: Shell) -> None:
    shell.run("%%route --tier bulk \\\n    --system 'Be brief' \\\n  --tag x\nHi \\\nthere")
    assert sent(shell) == ["Hi \\\nthere"]
    assert shell.scripted.requests[0].system == "Be brief"


def test_code_above_runs_first_and_an_indented_magic_works(shell: Shell) -> None:
    shell.run("name = 'Ada'\n  %%route --tier bulk\nGreet {{name}}")
    assert sent(shell) == ["Greet Ada"]


@pytest.mark.parametrize(
    "cell",
    [
        "\ufeff%%route --tier bulk\nHi", "%%route\u00a0--tier bulk\nHi", "\u200b%%route\u202f--tier\u00a0bulk\nHi",
        "%%route\u3000--tier bulk\nHi", "%%route\t--tier\tbulk\nHi",
        "# a note\n%%route\u00a0--tier bulk\nHi", "\ufeff%route\u00a0--tier bulk Hi",
    ],
)  # fmt: skip
def test_spaces_and_marks_of_a_copied_cell_do_not_hide_the_magic(shell: Shell, cell: str) -> None:
    shell.run(cell)
    assert sent(shell) == ["Hi"]


def test_spaces_of_a_prompt_stay_as_they_are(shell: Shell) -> None:
    shell.run("%%route --tier bulk\n%route\u00a0x \ufeffy")
    assert sent(shell) == ["%route\u00a0x \ufeffy"]


def test_a_plan_may_be_a_cell(shell: Shell) -> None:
    assert "nothing was sent" in shell.run("# plan\n%%route_plan --tier bulk\nName three colors.")
    assert "nothing was sent" in shell.run("%%route_plan\nName three colors.")
    assert sent(shell) == []


@pytest.mark.parametrize(
    "cell",
    [
        'text = """\n%%route --tier bulk\nhello\n"""',
        "text = '''\n# a\n%%route\n'''",
        "%%capture --no-stderr out\ntext = '''\n%%route\n'''",
    ],
)
def test_a_cell_magic_within_a_string_is_text(shell: Shell, cell: str) -> None:
    shell.run(cell)
    assert sent(shell) == []
    assert "%%route" in shell["text"]


def test_the_help_of_a_cell_magic_below_a_comment_is_not_a_prompt(shell: Shell) -> None:
    shell.shell.run_cell("# help\n%%route?")
    assert sent(shell) == []


# A line that ends in a question mark.


@pytest.mark.parametrize(
    ("line", "prompt"),
    [
        ("%route what is a monad?", "what is a monad?"),
        ("%route what is a monad ?", "what is a monad ?"),
        ("%route really??", "really??"),
        ("r = %route --tier bulk where is the library?", "where is the library?"),
        ("if True:\n    %route what is a monad?", "what is a monad?"),
        ("%route what's a (monad?", "what's a (monad?"),
        ("%route is 'x' a \"word\"?", "is 'x' a \"word\"?"),
        ("x.y = %route what is it?", "what is it?"),
        ("%route what is a \\\nmonad?", "what is a monad?"),
    ],
)
def test_a_question_goes_to_the_model(shell: Shell, line: str, prompt: str) -> None:
    shell.run("class X: pass\nx = X()")
    shell.run(line)
    assert [" ".join(text.split()) for text in sent(shell)] == [prompt]


def test_a_planned_question_is_planned(shell: Shell) -> None:
    assert "nothing was sent" in shell.run("%route_plan Translate to French: where is the library?")


@pytest.mark.parametrize("line", ["%route?", "%route??", "%%route?", "?%route", "%route_plan?", "len?"])
def test_help_is_still_help(shell: Shell, line: str) -> None:
    shell.run(line)
    assert sent(shell) == []


# Words and quotes.


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (r'--system "say \"hi\""', ["--system", 'say "hi"']),
        (r"--attach ~/a\ b.csv", ["--attach", "~/a b.csv"]),
        ("--tag='x y'", ["--tag=x y"]),
        ('--system="two words"', ["--system=two words"]),
        ('--tier "bulk"', ["--tier", "bulk"]),
        ("'she said \"no\"'", ['she said "no"']),
        ('"it\'s"', ["it's"]),
        ("don't", ["don't"]),
        ("'tis fine", ["'tis", "fine"]),
        (r"C:\data\new.csv", [r"C:\data\new.csv"]),
        (r'"C:\My Data\new.csv"', [r"C:\My Data\new.csv"]),
        (r'--attach "C:\My Data\" --tag x', ["--attach", "C:\\My Data\\", "--tag", "x"]),
        (r"\\server\share\a.txt", [r"\\server\share\a.txt"]),
        ('{"type":"object"}', ['{"type":"object"}']),
        ('{"type": "object", "a": {"b c": 1}} --tag x', ['{"type": "object", "a": {"b c": 1}}', "--tag", "x"]),
        ("{{ frame }} --tag x", ["{{ frame }}", "--tag", "x"]),
        ('--schema={"a": 1}', ['--schema={"a": 1}']),
        ('""', [""]),
        ("--tag= x", ["--tag=", "x"]),
        ('say"hi"', ['say"hi"']),
        ('"unclosed text', ['"unclosed', "text"]),
        ("  ", []),
        (r"\"", ['"']),
        ("a\tb", ["a", "b"]),
        ("{not json", ["{not", "json"]),
        ('"" "" x', ["", "", "x"]),
        ("„Anführung“ x", ["„Anführung“", "x"]),
        ("--system “be brief” x", ["--system", "be brief", "x"]),
        ("--tag=‘x y’ z", ["--tag=x y", "z"]),
        ("“half quoted", ["“half", "quoted"]),
    ],
)
def test_words_are_split_the_same_way_on_every_platform(line: str, words: list[str]) -> None:
    assert [word.text for word in words_of(line)] == words


def test_quoted_values_reach_the_request(shell: Shell) -> None:
    shell.run('%%route --tier "bulk" --out "r1" --system "say \\"hi\\"" --tag=\'x y\' --tag "z"\nhello')
    assert shell.scripted.requests[0].system == 'say "hi"'
    assert shell.router.ledger.rows()[0].tags == ("x y", "z")
    assert shell["r1"] is shell["_route"]
    shell.run("%route --tag don't Say hi")
    assert (sent(shell)[-1], shell.router.ledger.rows()[-1].tags) == ("Say hi", ("don't",))


def test_names_in_the_values_of_options_are_replaced(shell: Shell) -> None:
    shell.scripted.script(Reply(chunks=('{"n": 1}',)))
    shell.run("role = 'a poet'\nm = 'strong'\nS = {'type': 'object'}\ncap = 5\nchk = lambda text: True")
    shell.run("%%route --system 'You are {{role}}' --model {{m}} --schema {{S}} --max-cost {{ cap }} --tag={{m}}\nHi")
    request = shell.scripted.requests[-1]
    assert (request.system, request.model.id) == ("You are a poet", "strong")
    assert shell["_route"].data == {"n": 1}
    shell.run("for m in ('cheap', 'strong'):\n    %route --model {{m}} Hi")
    assert shell.scripted.requests[-1].model.id == "strong"
    shell.run("r = %route --check {{chk}} --cascade=check Hi")
    shell.run("%route --no-interpolate --system {{role}} Hi")
    assert shell.scripted.requests[-1].system == "{{role}}"
    count = len(shell.scripted.requests)
    out, _ = shell.fail("%route --system {{rol}} Hi")
    assert "UsageError: --system: {{rol}}: no variable 'rol' is defined" in out
    assert "Did you mean {{role}}?" in out
    assert len(shell.scripted.requests) == count


def test_a_dash_that_begins_no_option_is_text(shell: Shell) -> None:
    shell.run("%route – hello\n%route —Alice said so")
    assert sent(shell) == ["– hello", "—Alice said so"]


def test_the_line_ends_of_windows_are_no_part_of_a_prompt(shell: Shell) -> None:
    shell.shell.run_cell_magic("route", "--tier bulk", "hello\r\n")
    assert sent(shell) == ["hello"]


@pytest.mark.parametrize(
    ("line", "name"),
    [("–tier bulk hello", "--tier"), ("—max-tokens=5 hello", "--max-tokens"), ("––plan hello", "--plan")],
)
def test_an_option_with_a_typographic_dash_is_an_error(line: str, name: str, shell: Shell) -> None:
    out, _ = shell.fail(f"%route {line}")
    assert f"UsageError: unrecognized arguments: {line.split()[0].split('=')[0]} (did you mean {name}?" in out
    assert sent(shell) == []


def test_a_comment_may_follow_the_options_of_a_cell(shell: Shell) -> None:
    shell.run("%%route --tier bulk  # ask --model nothing\nhello")
    shell.run("%%route # ask\nhello")
    shell.run("%%route answer << # ask\nhello")
    assert sent(shell) == ["hello"] * 3
    assert shell["answer"] is shell["_route"]


def test_a_file_with_a_blank_in_its_name_is_attached(shell: Shell, tmp_path: Any) -> None:
    (tmp_path / "a b.csv").write_text("x\n1\n")
    path = str(tmp_path / "a b.csv").replace(" ", "\\ ")
    shell.run(f"%%route --attach {path}\nSum up")
    assert 'name="a b.csv"' in sent(shell)[0]


# Misspelled.


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("--teir bulk", "did you mean --tier?"),
        ("--modle cheap", "did you mean --model?"),
        ("--max_tokens 5", "did you mean --max-tokens?"),
        ("--tags x", "did you mean --tag?"),
        ("--Tier bulk", "did you mean --tier?"),
        ("-m cheap", "did you mean --model"),
        ("-t bulk", "did you mean --tier"),
        ("--maxcost 1", "did you mean --max-cost"),
        ("--temperature 0", "add ? to the magic for its options"),
        ("--mod cheap", "did you mean"),
        ("--tier=bulk --teir=x", "did you mean --tier?"),
    ],
)
@pytest.mark.parametrize(
    "form", ["%route {} hello", "%%route {}\nhello", "r = %route {} hello", "%route_plan {} hello"]
)
def test_a_misspelled_option_is_named_with_the_nearest_one(shell: Shell, form: str, line: str, hint: str) -> None:
    out, _ = shell.fail(form.format(line))
    assert "UsageError: unrecognized arguments: -" in out
    assert hint in out
    assert sent(shell) == []


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("--model Strong", "Did you mean strong?"),
        ("--model cloud:cheap", "Did you mean cheap?"),
        ("--model chaep", "Did you mean cheap?"),
        ("--model stron", "Did you mean strong?"),
        ("--model zzzzzz", "Others are added in models.toml"),
        ("--judge chaep", "Did you mean cheap?"),
        ("--last-resort chaep", "Did you mean cheap?"),
        ("--compare strong,chaep", "Did you mean cheap?"),
        ("--tier complx", "did you mean complex?"),
        ("--tier bluk", "did you mean bulk?"),
    ],
)
def test_a_misspelled_model_or_tier_is_named_with_the_nearest_one(shell: Shell, line: str, hint: str) -> None:
    out, _ = shell.fail(f"%%route {line}\nhello")
    assert hint in out
    assert "Traceback" not in out
    assert sent(shell) == []


def test_a_misspelled_variable_is_named_with_the_nearest_one(shell: Shell) -> None:
    shell.run("frame = 1")
    out, _ = shell.fail("%%route\nSum up {{farme}}")
    assert "Did you mean {{frame}}?" in out


def test_an_attached_name_that_is_a_variable_is_recognized(shell: Shell) -> None:
    shell.run("import pandas as pd\ndf = pd.DataFrame({'a': [1]})")
    out, _ = shell.fail("%%route --attach df\nSum up")
    assert "For the variable df, write --attach {{df}}" in out
    out, _ = shell.fail("%%route --attach https://example.com/x.png\nSum up")
    assert "'https://example.com/x.png' can't be attached: URLs are not fetched" in out
    assert sent(shell) == []


def test_help_is_printed_on_request(shell: Shell) -> None:
    assert "--max-cost" in shell.run("%route --help")
    assert "--max-cost" in shell.run("%%route --help\nhello")
    assert sent(shell) == []


def test_the_name_of_the_distribution_is_corrected(shell: Shell) -> None:
    out, _ = shell.fail("%load_ext llm-magic")
    assert "the extension is named llm_magic, with an underscore: %load_ext llm_magic" in out
    assert "Traceback" not in out


# `_route` after a run without an answer.


def test_after_a_failure_the_result_holds_the_partial_text_the_cost_and_the_outcome(shell: Shell) -> None:
    shell.run("%route --tier bulk first")
    shell.scripted.script(Failure(error=Refused("no"), chunks=("Half of ",)))
    _, error = shell.fail("%%route --tier bulk --on-refusal stop --out mine\nsecond")
    assert isinstance(error, AllAttemptsFailed)
    result = shell["_route"]
    assert shell["mine"] is result
    assert (result.text, result.outcome, result.finish_reason) == ("Half of ", Outcome.REFUSED, "failed")
    assert result.cost_usd > 0
    assert result.run_id == shell.router.ledger.rows()[-1].run_id


def test_after_a_refusal_by_the_cap_the_result_is_not_the_last_answer(shell: Shell) -> None:
    shell.run("%route --tier bulk first")
    _, error = shell.fail("%%route --max-cost 0.0000001\nsecond")
    assert isinstance(error, BudgetExceeded)
    result = shell["_route"]
    assert (result.text, result.outcome, result.finish_reason) == ("", Outcome.SKIPPED, "not sent")
    assert result.cost_usd == 0
    assert "strong" in repr(result.path) or not result.path
    assert "no answer: not sent" in bundles.FORMATTERS[RouteResult](result)["text/plain"]
    stopped = dataclasses.replace(result, finish_reason="stopped")
    assert stopped.outcome is Outcome.CANCELLED
    assert "no answer: canceled" in bundles.FORMATTERS[RouteResult](stopped)["text/plain"]


def test_after_a_failed_comparison_the_result_is_not_the_last_answer(shell: Shell) -> None:
    shell.run("%route --tier bulk first")
    shell.fail("%%route --compare strong,cheap --max-cost 0.0000001\nsecond")
    assert [column.result for column in shell["_route"].columns] == [None, None]


def test_a_request_that_can_not_be_planned_changes_no_result(shell: Shell) -> None:
    shell.run("%route --tier bulk first")
    for line in ("--model chaep", "--teir bulk", "--tier hard"):
        shell.fail(f"%%route {line}\nsecond")
        assert shell["_route"].outcome is Outcome.OK
