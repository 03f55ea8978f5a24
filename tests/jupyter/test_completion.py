"""Tab completion on the lines of the magics."""

from __future__ import annotations

import IPython
import pytest
from IPython.core.completer import provisionalcompleter

from tests.support.shell import Shell


def tab(shell: Shell, text: str) -> list[str]:
    """What the completer offers at the end of a text, as the front ends ask for it: the words that would stand there."""
    with provisionalcompleter():
        return [completion.text for completion in shell.shell.Completer.completions(text, len(text))]


def check_offered(shell: Shell, text: str, offers: list[str]) -> None:
    if IPython.version_info < (8, 6):  # whose matchers can't say that theirs alone are meant
        assert set(tab(shell, text)) >= set(offers)
    else:
        assert sorted(tab(shell, text)) == sorted(offers)


@pytest.mark.parametrize(
    ("text", "offers"),
    [
        ("%%route --ti", ["--tier"]),
        ("%route --max", ["--max-cost", "--max-tokens"]),
        ("%%route --tier ", ["complex", "standard", "structured", "bulk"]),
        ("%%route --tier st", ["standard", "structured"]),
        ("%%route --tier=st", ["standard", "structured"]),
        ("%%route --model ", ["strong", "cheap"]),
        ("%%route --out answer --model ch", ["cheap"]),
        ("answer = %route --model st", ["strong"]),
        ("%%route answer << --mod", ["--model"]),
        ("%%route answer << --model st", ["strong"]),
        ("x = 1\n%route --model st", ["strong"]),
        ("%route_plan --model st", ["strong"]),
        ("%route_again --t", ["--tier"]),
        ("%route_rate ", ["up", "down", "clear"]),
        ("%route_jobs c", ["cancel"]),
    ],
)
def test_options_and_their_values_are_completed(shell: Shell, text: str, offers: list[str]) -> None:
    check_offered(shell, text, offers)


def test_every_option_is_offered(shell: Shell) -> None:
    offered = tab(shell, "%%route --")
    for option in ("--tier", "--model", "--system", "--schema", "--out", "--tag", "--plan", "--background", "--cache"):
        assert option in offered


def test_threads_are_offered_by_name(shell: Shell) -> None:
    shell.run("%route --tier bulk --thread garden hello\n%route --tier bulk --thread kitchen hello")
    check_offered(shell, "%%route --thread gar", ["garden"])
    check_offered(shell, "%route_threads k", ["kitchen"])


@pytest.mark.parametrize(
    "text", ["%route --tier bulk hello --wor", "%timeit rou", "%%route\nTranslate --ti", "route --ti"]
)
def test_other_lines_get_no_completions_of_llm_magic(shell: Shell, text: str) -> None:
    assert "--tier" not in tab(shell, text)


def test_completion_works_without_a_readable_registry(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, clean_environment: object
) -> None:
    from pathlib import Path

    from llm_magic import routing

    routing.reset_session()
    home = Path(str(clean_environment))
    home.mkdir()
    (home / "models.toml").write_text("[models")
    assert "strong" not in tab(shell, "%%route --model st")
    assert tab(shell, "%%route --mod") == ["--model"]


def test_unloading_removes_the_completions(shell: Shell) -> None:
    before = len(shell.shell.Completer.custom_matchers)
    shell.run("%reload_ext llm_magic")
    assert len(shell.shell.Completer.custom_matchers) == before
    shell.run("%unload_ext llm_magic")
    assert len(shell.shell.Completer.custom_matchers) == before - 1
    assert "--tier" not in tab(shell, "%%route --ti")
    shell.run("%load_ext llm_magic")
