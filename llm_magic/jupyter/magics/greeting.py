"""One line after `%load_ext`: the providers that can be used, what is missing, and the session's cap."""

from __future__ import annotations

from typing import Any

from llm_magic import routing
from llm_magic.budget import short_usd
from llm_magic.errors import LLMMagicError
from llm_magic.jupyter.display.capture import is_in_a_cell

_NAMES = {"anthropic": "Claude", "openai": "GPT", "deepseek": "DeepSeek", "local": "the embedded model"}


_printed = ""


def show(shell: Any) -> None:
    """Print the line if it has changed. A kernel that loads the extension at its start prints nothing."""
    global _printed
    if getattr(shell, "kernel", None) is not None and not is_in_a_cell():
        return
    if (text := line()) != _printed:
        _printed = text
        print(text)  # noqa: T201 - the answer of `%load_ext`


def line() -> str:
    try:
        configured = routing.configuration()
    except LLMMagicError as error:
        return f"not ready: {error}"
    reasons = {name: provider.unavailable() for name, provider in configured.providers.items()}
    ready = [name for name, reason in reasons.items() if reason is None]
    # The embedded model answers only if nothing else is configured.
    ready = [name for name in ready if name != "local"] or ready
    missing = [
        f"{_NAMES[name]} is {reason}" if name == "local" else reason
        for name, reason in reasons.items()
        if reason is not None and (name != "local" or not ready)
    ]
    names = ", ".join(_NAMES.get(name, name) for name in ready)
    cap_usd = configured.budget.session_usd
    cap = "no cap: %route_budget 5" if cap_usd is None else f"cap {short_usd(cap_usd)}"
    state = [f"ready: {names}", *filter(None, [", ".join(missing)])] if ready else [f"not ready: {', '.join(missing)}"]
    return "; ".join([*state, cap])
