"""Access rights of the user's files and folders. On Windows, the user's folders are private already."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path


def make_folder(folder: Path, *, mode: int = 0o700) -> None:
    """Create a folder and its missing parents with these rights. Existing folders stay as they are."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        set_mode(path, mode)


def restrict(path: Path) -> None:
    """Take away the rights of the group and of others, unless the file or folder belongs to another user.

    Symbolic links to files, devices, and shared folders such as `/tmp` (sticky), are left alone.
    """
    with suppress(OSError):
        status = path.stat()
        is_shared = bool(status.st_mode & stat.S_ISVTX) or path.resolve() == Path(path.anchor)
        if not is_shared and (stat.S_ISDIR(status.st_mode) or not path.is_symlink()):
            set_mode(path, stat.S_IMODE(status.st_mode) & 0o700)


def set_mode(path: Path, mode: int) -> None:
    """Set the rights of a file or folder of this user; others' and devices are left alone.

    For root, `/dev/null` is a file of this user: with other rights, it would fail every other user's programs.
    """
    if os.name == "nt":
        return
    with suppress(OSError):
        status = path.stat()
        is_stored = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
        if is_stored and status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) != mode:
            path.chmod(mode)
