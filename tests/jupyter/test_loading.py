"""Loading, unloading, loading anew; and the settings, by `%config` and from `ipython_config.py`."""

from __future__ import annotations

import atexit
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from llm_magic import routing
from llm_magic.jupyter.magics.route import RouteMagics
from llm_magic.jupyter.run import background, history
from llm_magic.testing import Reply
from tests.support import builders
from tests.support.shell import Shell

_OF_IPYTHON = re.compile(r"_+\d*|_i+\d*|_[oid]h|In|Out|__\w+")
"""Names of what went in and came out."""
SETTINGS = RouteMagics.class_traits(config=True)


def state(shell: InteractiveShell) -> dict[str, Any]:
    """All that an extension could change in a shell and its process."""
    manager = shell.magics_manager
    formatters = {**shell.display_formatter.formatters, "bundle": shell.display_formatter.mimebundle_formatter}
    named = {
        **{f"{kind} magics": dict(magics) for kind, magics in manager.magics.items()},
        "classes": dict(manager.registry),
        "hooks": {name: list(hooks) for name, hooks in shell.events.callbacks.items()},
        "printers": {
            name: [dict(f.type_printers), dict(f.deferred_printers), dict(f.singleton_printers)]
            for name, f in formatters.items()
        },
        "names": {name: value for name, value in shell.user_ns.items() if not _OF_IPYTHON.fullmatch(name)},
        "hidden": {name for name in shell.user_ns_hidden if not _OF_IPYTHON.fullmatch(name)},
        "transformers": [
            *shell.input_transformers_cleanup,
            *shell.input_transformers_post,
            *shell.ast_transformers,
            *shell.input_transformer_manager.token_transformers,
        ],
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
    }
    return named | {
        "configurables": list(map(id, shell.configurables)),
        "matchers": list(shell.Completer.custom_matchers),
        "tracebacks": (shell.custom_exceptions, shell.CustomTB),
        "settings": Config(shell.config),
        "at exit": atexit._ncallbacks(),
        "hooks of python": (sys.excepthook, sys.displayhook, sys.stdout, threading.excepthook),
        "logging": list(logging.getLogger("llm_magic").handlers),
    }


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Runs cells that must work in a shell that has not seen the extension."""
    routing.use_router(builders.router(replies=[Reply()]))
    background.clear()
    history.clear()
    before = InteractiveShell._instance
    InteractiveShell.clear_instance()
    new = InteractiveShell.instance(colors="nocolor")

    def run(cell: str) -> Any:
        result = new.run_cell(cell)
        assert result.success, result
        return result.result

    run.shell = new  # type: ignore[attr-defined]
    yield run
    history.clear()
    new.history_manager.end_session()
    InteractiveShell.clear_instance()
    if before is not None:
        for kind in InteractiveShell._walk_mro():
            kind._instance = before


def test_unloading_restores_the_state_before_loading(fresh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import llm_magic.bridge  # noqa: F401 - imported once: it says goodbye to its loop when Python ends

    monkeypatch.setattr("llm_magic.jupyter.display.run_view.is_attended", lambda _: True)
    fresh("import llm_magic\n%config")  # the first use of %config loads magics of IPython's own
    before = state(fresh.shell)
    fresh("%load_ext llm_magic")
    loaded = state(fresh.shell)
    for what in ("line magics", "classes", "printers", "configurables", "matchers", "tracebacks"):
        assert loaded[what] != before[what], what
    for _ in range(3):
        fresh("%config RouteMagics.cache = False\n%route hello\n%route --tier bulk --background later")
        fresh("%route_jobs wait\n%route_panel\n%route --compare strong,cheap hello\n%route_rate up")
        fresh("%reload_ext llm_magic")
    fresh("%config RouteMagics.cache = True\n%reload_ext llm_magic")
    again = state(fresh.shell)
    assert len(again["configurables"]) == len(loaded["configurables"])
    assert len(again["matchers"]) == len(loaded["matchers"])
    assert fresh("%config RouteMagics.cache") is True, "settings outlive it"
    assert type(fresh("_route")).__name__ == "Comparison", "so does the last result"
    fresh("%unload_ext llm_magic")
    after = state(fresh.shell)
    before["settings"].RouteMagics.cache = after["settings"].RouteMagics.cache = True
    for what, was in before.items():
        assert after[what] == was, what


def test_unloading_keeps_hooks_that_others_have_replaced(fresh: Any) -> None:
    fresh("%load_ext llm_magic\n%route hello")
    fresh(
        "from IPython.core.magic import register_line_magic\n@register_line_magic\ndef route_rate(line):\n    return 'mine'"
    )
    fresh("from llm_magic import Plan\nshow = lambda plan, **_: {'text/plain': 'mine'}")
    fresh("get_ipython().display_formatter.mimebundle_formatter.for_type(Plan, show)\n_route = 'mine'")
    fresh("get_ipython().set_custom_exc((ZeroDivisionError,), lambda *_: None)")
    fresh("%unload_ext llm_magic")
    shell = fresh.shell
    assert fresh("%route_rate up") == "mine"
    assert fresh("_route") == "mine"
    assert shell.display_formatter.format(routing.session_router().plan("hello"))[0]["text/plain"] == "mine"
    assert shell.custom_exceptions == (ZeroDivisionError,)
    fresh("%load_ext llm_magic\n%unload_ext llm_magic")
    assert fresh("%route_rate up") == "mine", "what stood there before is put back"
    assert shell.custom_exceptions == (ZeroDivisionError,)


# Settings.

WRONG = [
    ("profile", "'nope'", "any of ['current', 'article'] or None, not the str 'nope'"),
    ("profile", "1", "any of ['current', 'article'] or None, not the int 1"),
    ("freeze", "'no'", "expected a boolean, not the str 'no'"),
    ("cache", "2", "expected a boolean, not the int 2"),
    ("table_rows", "0", "should not be less than 1, but a value of 0 was specified"),
    ("table_rows", "1.5", "expected an int, not the float 1.5"),
    ("thread_tokens", "99", "should not be less than 100, but a value of 99 was specified"),
    ("thread_tokens", "None", "expected an int, not the NoneType None"),
    ("quality", "1.01", "it must be from 0 to 1, or None"),
    ("quality", "-0.1", "it must be from 0 to 1, or None"),
    ("quality", "float('nan')", "it must be from 0 to 1, or None"),
    ("quality", "'high'", "expected a float"),
    ("worth", "0", "it must be above 0 and below a million, or None"),
    ("worth", "float('nan')", "it must be above 0 and below a million, or None"),
    ("flex", "'no'", "expected a boolean, not the str 'no'"),
    ("effort", "'some'", "any of ['none', 'low', 'medium', 'high', 'max'] or None, not the str 'some'"),
    ("verbosity", "'loud'", "any of ['quiet', 'normal', 'full'], not the str 'loud'"),
    ("last_resort", "1", "expected a unicode string, not the int 1"),
    ("on_refusal", "'retry'", "any of ['fallback', 'stop'] or None, not the str 'retry'"),
    ("shadow", "1.5", "it must be from 0 to 1, or None"),
    ("shadow", "float('nan')", "it must be from 0 to 1, or None"),
    ("explore", "'often'", "expected a boolean, not the str 'often'"),
    ("shadow_judge", "1", "expected a unicode string, not the int 1"),
    ("shadow_never_tags", "[1]", "expected a unicode string, not the int 1"),
    ("shadow_never_regex", "'('", "missing ), unterminated subpattern"),
]
RIGHT = {
    "profile": "article",
    "freeze": False,
    "cache": True,
    "table_rows": 1,
    "thread_tokens": 100,
    "quality": 0.5,
    "effort": "low",
    "worth": 0.5,
    "flex": True,
    "last_resort": "cheap",
    "verbosity": "quiet",
    "on_refusal": "stop",
    "shadow": 0.5,
    "explore": True,
    "shadow_judge": "cheap",
    "shadow_never_tags": ["private"],
    "shadow_never_regex": "secret",
}


def test_every_setting_has_an_invalid_value_here_and_states_its_range() -> None:
    assert {name for name, _, _ in WRONG} == RIGHT.keys() == SETTINGS.keys()
    for name, trait in SETTINGS.items():
        assert trait.help.endswith("."), name
    assert "1 or more" in SETTINGS["table_rows"].help
    assert "100 or more" in SETTINGS["thread_tokens"].help
    assert "from 0 (the cheapest) to 1 (the best)" in SETTINGS["quality"].help
    assert "'current' or 'article'" in SETTINGS["profile"].help


@pytest.mark.parametrize(("name", "value", "says"), WRONG)
def test_an_invalid_value_is_an_error_and_changes_nothing(
    shell: Shell, caplog: pytest.LogCaptureFixture, name: str, value: str, says: str
) -> None:
    shell.run(f"%config RouteMagics.{name} = {RIGHT[name]!r}")
    router = routing.session_router()
    shell.run(f"%config RouteMagics.{name} = {value}")
    (record,) = caplog.records
    assert f"the '{name}' trait" in record.getMessage().lower()
    assert says in record.getMessage()
    shell.run(f"value = %config RouteMagics.{name}")
    assert shell["value"] == RIGHT[name]
    assert routing.session_router() is router


def test_a_profile_is_switched_and_switched_back(shell: Shell) -> None:
    shell.run("%route_budget 3\n%config RouteMagics.profile = 'article'")
    assert "deepseek-v3" in (article := routing.session_router()).registry
    assert article.ledger is shell.router.ledger
    assert article.budget.session_usd == 3
    shell.run("%reload_ext llm_magic")
    assert routing.session_router() is article, "what was learnt of its providers' health stays"
    shell.run("%config RouteMagics.profile = None")
    assert "deepseek-v3" not in routing.session_router().registry


def test_reloading_reads_a_changed_models_toml_and_warns_of_a_broken_one(
    shell: Shell, clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_MAGIC_LEDGER", ":memory:")
    routing.reset_session()
    own = '[models.mine]\nbase_url = "http://localhost:1/v1"\nprice = { input = 0, output = 0 }\n'
    clean_environment.mkdir(parents=True, exist_ok=True)
    shell.run("models = %route_models")
    (clean_environment / "models.toml").write_text(own)
    shell.run("%reload_ext llm_magic\nmodels = %route_models")
    assert "mine" in shell["models"].index
    (clean_environment / "models.toml").write_text(own + "[models.y]\nprovider = 'opnai'\n")
    with pytest.warns(UserWarning, match="the models are as before: .*did you mean 'openai'"):
        shell.run("%reload_ext llm_magic")
    shell.run("models = %route_models")
    assert "mine" in shell["models"].index


def test_a_profile_that_can_not_be_loaded_changes_nothing(
    shell: Shell, caplog: pytest.LogCaptureFixture, clean_environment: Path
) -> None:
    clean_environment.mkdir()
    (clean_environment / "models.toml").write_text("[models")
    shell.run("%config RouteMagics.profile = 'article'\nvalue = %config RouteMagics.profile")
    assert "the 'profile' trait can't become 'article'" in caplog.text
    assert "not valid TOML" in caplog.text
    assert shell["value"] is None
    assert routing.session_router() is shell.router


def test_an_invalid_setting_of_an_earlier_load_is_dropped_and_the_others_stay(shell: Shell) -> None:
    ip = shell.shell
    ip.run_line_magic("unload_ext", "llm_magic")
    before = list(ip.configurables)
    ip.config.merge(Config({"RouteMagics": {"profile": "nope", "table_rows": 7, "quality": 3, "cache": True}}))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ip.run_line_magic("load_ext", "llm_magic")
    assert [str(warning.message).split(":")[0] for warning in caught] == [
        "RouteMagics.profile = 'nope' is not valid and was ignored",
        "RouteMagics.quality = 3 is not valid and was ignored",
    ]
    assert [type(configurable).__name__ for configurable in ip.configurables[len(before) :]] == [
        "RouteMagics", "SessionMagics", "FixMagics", "LedgerMagics"
    ]  # fmt: skip
    shell.run("rows = %config RouteMagics.table_rows\ncache = %config RouteMagics.cache")
    assert (shell["rows"], shell["cache"]) == (7, True)
    ip.run_line_magic("reload_ext", "llm_magic")
    assert "A scripted answer." in shell.run("%route hello")


def ipython(tmp_path: Path, config: str, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A new IPython with a configuration file."""
    profile = tmp_path / "profile_default"
    profile.mkdir()
    (profile / "ipython_config.py").write_text(
        f"c = get_config()\nc.InteractiveShellApp.extensions = ['llm_magic']\n{config}\n"
    )
    return subprocess.run(
        [sys.executable, "-m", "IPython", "--colors=nocolor", "-c", code],
        env={**os.environ, "IPYTHONDIR": str(tmp_path), "LLM_MAGIC_HOME": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )


_IN_A_SHELL = "%route_budget 3\nimport llm_magic; print([model.id for model in llm_magic.router().registry])"


def test_the_extension_is_loaded_and_configured_by_ipython_config(tmp_path: Path) -> None:
    ran = ipython(tmp_path, "c.RouteMagics.profile = 'article'", _IN_A_SHELL)
    assert "deepseek-v3" in ran.stdout
    assert "cap $3.00" in ran.stdout
    assert ran.stderr == ""


def test_an_invalid_setting_in_ipython_config_is_reported_and_dropped(tmp_path: Path) -> None:
    ran = ipython(
        tmp_path,
        "c.RouteMagics.profile = 'article'\nc.RouteMagics.thread_tokens = 'many'",
        f"{_IN_A_SHELL}\nx = %config RouteMagics.thread_tokens\nprint('tokens', x)",
    )
    assert "RouteMagics.thread_tokens = 'many' is not valid and was ignored" in ran.stderr
    assert "Traceback" not in ran.stderr + ran.stdout
    assert "deepseek-v3" in ran.stdout
    assert "cap $3.00" in ran.stdout
    assert "tokens 8000" in ran.stdout


def test_with_a_profile_in_ipython_config_a_broken_models_toml_can_be_fixed(tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text("[models")
    mended = f"import pathlib; pathlib.Path({str(tmp_path / 'models.toml')!r}).write_text('')"
    ran = ipython(tmp_path, "c.RouteMagics.profile = 'article'", f"{mended};\n{_IN_A_SHELL}")
    assert "deepseek-v3" in ran.stdout
    assert ran.stderr == ""
