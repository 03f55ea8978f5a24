"""The package as a whole: light to import, complete in its names."""

from __future__ import annotations

import re
import subprocess
import sys

import llm_magic

HEAVY = ("IPython", "ipywidgets", "pandas", "anthropic", "openai", "tiktoken", "xllamacpp", "genai_prices", "numpy")


def test_import_brings_in_nothing_heavy() -> None:
    code = f"import llm_magic, sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_import_is_quick() -> None:
    """A tenth of a second on an idle machine; on a busy one, in its own measure: no more than importing asyncio twice."""
    code = "import asyncio, llm_magic"
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=True)
    took = {
        name: int(microseconds)
        for microseconds, name in re.findall(r"\|\s*(\d+)\s*\|\s*(asyncio|llm_magic)$", done.stderr, re.MULTILINE)
    }
    assert took["llm_magic"] < max(100_000, 2 * took["asyncio"])
    assert not re.search(rf"\|\s+({'|'.join(HEAVY)})$", done.stderr, re.MULTILINE)


def test_every_public_name_is_there() -> None:
    for name in llm_magic.__all__:
        assert getattr(llm_magic, name) is not None
    assert set(dir(llm_magic)) == set(llm_magic.__all__)


def test_every_error_is_public_and_has_one_root() -> None:
    from llm_magic import errors

    found = {
        name for name, value in vars(errors).items() if isinstance(value, type) and value.__module__ == errors.__name__
    }
    assert found <= set(llm_magic.__all__)
    assert all(issubclass(getattr(errors, name), errors.LLMMagicError) for name in found)


def test_the_session_has_one_router() -> None:
    assert llm_magic.router() is llm_magic.router()
