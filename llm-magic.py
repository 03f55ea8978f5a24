"""The name of the distribution, which `%load_ext llm-magic` looks for."""

from typing import Any


def load_ipython_extension(_: Any) -> None:
    from IPython.core.error import UsageError

    raise UsageError("the extension is named llm_magic, with an underscore: %load_ext llm_magic")
