"""The package as a whole: light to import, with a complete list of public names."""

from __future__ import annotations

import re
import subprocess
import sys

import llm_magic

HEAVY = ("IPython", "ipywidgets", "pandas", "anthropic", "openai", "tiktoken", "xllamacpp", "genai_prices", "numpy")


def test_importing_loads_no_heavy_package() -> None:
    code = f"import llm_magic, sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_is_fast() -> None:
    """At most 0.1 s on an idle machine; on a busy one, at most twice the import of asyncio."""
    code = "import asyncio, llm_magic"
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=True)
    took = {
        name: int(microseconds)
        for microseconds, name in re.findall(r"\|\s*(\d+)\s*\|\s*(asyncio|llm_magic)$", done.stderr, re.MULTILINE)
    }
    assert took["llm_magic"] < max(100_000, 2 * took["asyncio"])
    assert not re.search(rf"\|\s+({'|'.join(HEAVY)})$", done.stderr, re.MULTILINE)


def test_every_public_name_can_be_imported() -> None:
    for name in llm_magic.__all__:
        assert getattr(llm_magic, name) is not None
    assert set(dir(llm_magic)) == set(llm_magic.__all__)


def test_every_error_is_public_and_has_one_root() -> None:
    from llm_magic import errors

    names = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, BaseException) and value.__module__ == errors.__name__
    }
    assert names <= set(llm_magic.__all__)
    assert all(issubclass(getattr(errors, name), errors.LLMMagicError) for name in names)


def test_the_session_has_one_router() -> None:
    assert llm_magic.router() is llm_magic.router()
