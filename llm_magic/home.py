"""Where the user's own files are: `models.toml`, `ledger.db`, downloaded weights."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """`LLM_MAGIC_HOME`, or the platform's user data folder. Not created by asking."""
    if chosen := os.environ.get("LLM_MAGIC_HOME"):
        return Path(chosen).expanduser()
    import platformdirs

    return platformdirs.user_data_path("llm_magic", appauthor=False)
