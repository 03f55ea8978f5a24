"""The folder of the user's own files: `models.toml`, `ledger.db`, downloaded weights."""

from __future__ import annotations

import os
import re
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

from llm_magic.errors import LLMMagicError
from llm_magic.permissions import make_folder, restrict


def home() -> Path:
    """Return `LLM_MAGIC_HOME`, or the platform's user data folder, without creating it.

    Raises LLMMagicError if it is a file.
    """
    if folder := os.environ.get("LLM_MAGIC_HOME"):
        path = Path(folder).expanduser()
        if file := next((part for part in (path, *path.parents) if part.is_file()), None):
            raise LLMMagicError(f"LLM_MAGIC_HOME is {folder!r}, but {file} is a file: give the path of a folder")
        return path
    import platformdirs

    return platformdirs.user_data_path("llm_magic", appauthor=False)


def private_home() -> Path:
    """Return the home, created if necessary, with access for its owner only."""
    folder = home()
    make_folder(folder)
    secure_home()
    return folder


def secure_home() -> None:
    """Restrict an existing home, and the files in it that may contain secrets, to their owner."""
    folder = home()
    restrict(folder)
    for name in _PRIVATE_FILES:
        restrict(folder / name)


_PRIVATE_FILES = ("hash.key", "models.toml", "tuning.toml")
_CHILD_VARIABLES = re.compile(
    r"PATH|HOME|USER|LANG|LANGUAGE|TZ|TMPDIR|TEMP|TMP|VIRTUAL_ENV|CONDA_PREFIX|LD_LIBRARY_PATH|SYSTEMROOT|WINDIR|COMSPEC|"
    r"PATHEXT|APPDATA|LOCALAPPDATA|PROGRAMDATA|USERPROFILE|NUMBER_OF_PROCESSORS|LLM_MAGIC_HOME|LLM_MAGIC_LOCAL\w*|"
    r"(?:LC|XDG|DYLD|PYTHON|OMP|GGML|CUDA|PIP|SSL_CERT)\w*|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|NETRC|\w+_PROXY",
    re.IGNORECASE,
)


def child_environment() -> dict[str, str]:
    """Return the environment for a child process: what Python and pip need, and no API key or other secret.

    A list of what is passed on, because an API key may be in a variable of any name.
    """
    return {name: value for name, value in os.environ.items() if _CHILD_VARIABLES.fullmatch(name)}


def hash_key() -> bytes:
    """Return the key of this user's keyed hashes, created at the first use in `hash.key`, outside the ledger.

    A leaked ledger therefore does not reveal its prompts. If the file can't be written, each process has its own key.
    """
    path = home() / "hash.key"
    secure_home()
    try:
        return path.read_bytes()
    except OSError:
        key = secrets.token_bytes(32)
    try:
        private_home()
        return _created(path, key)
    except OSError:
        return key


def _created(path: Path, content: bytes) -> bytes:
    """Write a file, unless another process creates it at the same time, and return what it contains."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:  # 0600
        file.write(content)
    try:
        with suppress(FileExistsError):
            os.link(file.name, path)
    except OSError:  # a file system without links
        os.replace(file.name, path)
    finally:
        Path(file.name).unlink(missing_ok=True)
    return path.read_bytes()
