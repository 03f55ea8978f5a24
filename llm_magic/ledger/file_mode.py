"""Access rights of the ledger's files: for their owner only, unless `LLM_MAGIC_LEDGER_MODE` states others."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from llm_magic.errors import LedgerError
from llm_magic.permissions import make_folder, restrict, set_mode

_OWNER = 0o600


def prepare(path: Path, *, create: bool = True) -> None:
    """Create the file, if it does not exist, and its folder, and set the rights of the file and of its log.

    SQLite gives the files that it adds the rights of the ledger's file.
    """
    mode = _stated_mode()
    path = Path(os.path.realpath(path))
    make_folder(path.parent, mode=_folder_mode(mode or _OWNER))
    if create:
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, _OWNER))
            set_mode(path, mode or _OWNER)  # whatever the umask is
    for suffix in ("", "-wal", "-shm"):
        file = Path(f"{path}{suffix}")
        if mode is None:
            restrict(file)
        else:
            set_mode(file, mode)


def _stated_mode() -> int | None:
    text = os.environ.get("LLM_MAGIC_LEDGER_MODE", "").strip()
    if not text:
        return None
    try:
        mode = int(text.lower().removeprefix("0o"), 8)
    except ValueError:
        mode = -1
    if mode < 0 or mode & ~0o666 or mode & _OWNER != _OWNER:
        raise LedgerError(
            f"LLM_MAGIC_LEDGER_MODE={text!r} is not a mode for the ledger's file: write an octal number such as 0660, "
            "with at least 0600 and without execution"
        )
    return mode


def _folder_mode(mode: int) -> int:
    """Return the rights of a folder in which everyone who may read or write the file can also open it."""
    return mode | (mode & 0o444) >> 2
