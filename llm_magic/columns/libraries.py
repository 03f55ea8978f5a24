"""Libraries of tables, imported at their first use. They ship no types."""

from __future__ import annotations

import importlib
from typing import Any

from llm_magic.errors import RequestError


def pandas() -> Any:
    return importlib.import_module("pandas")


def polars() -> Any:
    return importlib.import_module("polars")


def arrow(module: str = "pyarrow") -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise RequestError("this table needs pyarrow: pip install 'llm-magic[parquet]'") from None
