"""The line that `%load_ext` prints, and what cells then no longer repeat."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_magic import routing
from llm_magic.jupyter.magics import greeting
from llm_magic.jupyter.render.facts import run_facts
from llm_magic.testing import Reply, ScriptedProvider
from tests.support.builders import model, router
from tests.support.display import state_after
from tests.support.shell import Shell

KEYS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "DEEPSEEK_API_KEY")
NO_CAP = "no cap: %route_budget 5"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLM_MAGIC_HOME", str(tmp_path))
    monkeypatch.setenv("LLM_MAGIC_LOCAL", "0")
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    routing.reset_session()
    return tmp_path


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (KEYS, f"ready: Claude, GPT, DeepSeek; {NO_CAP}"),
        (KEYS[:2], f"ready: Claude, GPT; no DEEPSEEK_API_KEY; {NO_CAP}"),
        (KEYS[2:], f"ready: DeepSeek; no ANTHROPIC_API_KEY, no OPENAI_API_KEY; {NO_CAP}"),
        ((), f"not ready: {', '.join(f'no {key}' for key in KEYS)}, the embedded model is turned off by LLM_MAGIC_LOCAL=0; {NO_CAP}"),
    ],
)  # fmt: skip
def test_the_line_names_what_is_ready_and_what_is_missing(
    keys: tuple[str, ...], expected: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in keys:
        monkeypatch.setenv(key, "sk-test")
    assert greeting.line() == expected
    assert not (home / "ledger.db").exists(), "no ledger is opened"


def test_the_embedded_model_is_named_if_nothing_else_is_configured(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_MAGIC_LOCAL", "1")
    assert greeting.line().startswith("ready: the embedded model; no ANTHROPIC_API_KEY, ")


def test_a_broken_models_file_and_a_cap_are_reported(home: Path) -> None:
    (home / "models.toml").write_text("[models")
    assert greeting.line().startswith("not ready: ")
    assert "models.toml" in greeting.line()
    session = routing.use_router(router(replies=[]))
    session.set_budget(session_usd=5)
    assert greeting.line() == "ready: cloud; cap $5.00"


def test_the_line_is_printed_once_and_again_if_it_changes(shell: Shell) -> None:
    assert shell.run("%reload_ext llm_magic") == ""
    shell.router.set_budget(session_usd=7)
    assert shell.run("%reload_ext llm_magic") == "ready: cloud; cap $7.00\n"


def test_a_cell_does_not_repeat_which_keys_are_missing() -> None:
    without_key = ScriptedProvider(unavailable="no OPENAI_API_KEY")
    session = router(
        model("unconfigured", provider="other", price="0.1/0.1"),
        model("answering"),
        providers={"other": without_key, "cloud": ScriptedProvider([Reply()])},
    )
    state = state_after(list(session.stream_sync("hello", tier="bulk")))
    assert [step.is_configured for step in state.path()] == [False, True]
    assert run_facts(state).path == ()
