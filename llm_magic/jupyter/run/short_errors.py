"""Errors of a magic, displayed as one line."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from IPython.core.error import UsageError

from llm_magic.errors import InvalidOption, LLMMagicError
from llm_magic.routing.keywords import message_as_typed


@contextmanager
def short_errors() -> Generator[None]:
    """Display errors without a traceback. An option with an invalid value becomes a UsageError."""
    try:
        yield
    except InvalidOption as error:
        raise UsageError(message_as_typed(error)) from None
    except LLMMagicError as error:
        _shorten_traceback(error)
        raise


def _shorten_traceback(error: LLMMagicError) -> None:
    # IPython calls this method to display an error.
    error._render_traceback_ = lambda: [f"{type(error).__name__}: {error}"]  # pyright: ignore[reportAttributeAccessIssue]
