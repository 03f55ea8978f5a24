"""Cheap checks that the ledger's file and its log were not deleted, replaced, overwritten or truncated."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
from collections import Counter, defaultdict
from contextlib import closing, suppress
from pathlib import Path

from llm_magic.errors import LedgerError

Identity = tuple[int, int]
"""Device and inode."""

_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_LOG_HEADER_BYTES, _FRAME_HEADER_BYTES = 32, 24
_CHECKED_AT_OPEN_BYTES = 16_000_000
"""A larger file takes too long to be checked as a whole."""
_CHECKED_IN_USE_BYTES = 1_000_000

_lock = threading.Lock()
_descriptors: dict[Identity, int] = {}
_users: Counter[Identity] = Counter()
_indexes: defaultdict[Identity, set[Identity]] = defaultdict(set)
"""By file, the indexes of its log that were opened. They are closed with the file: their locks are released too."""


class FileCheck:
    """The checks of one file that is open as a database.

    It reads the header through a descriptor that stays open as long as any ledger of this process uses the file:
    closing one would release the locks of all of the process's connections to it (POSIX).
    """

    def __init__(self, location: str) -> None:
        self._location = location
        self.path = ""
        self._identity: Identity | None = None
        self._verified = (0, 0)
        """Modification time (ns) and size that were found to be right."""
        self._log_size = 0
        self._log_identity: Identity | None = None
        self._is_open = False

    def open(self, path: str) -> None:
        """Begin to use the file, before a connection to it is opened."""
        self.check()
        status = _status(path)
        if status is None or self._is_open:
            return
        identity = status.st_dev, status.st_ino
        with _lock:
            _keep_open(path, identity)
            _users[identity] += 1
        self.path, self._identity, self._is_open = path, identity, True

    def close(self) -> None:
        """End the use of the file, after the connection was closed."""
        self._log_size, self._log_identity = 0, None
        if not self._is_open or self._identity is None:
            return
        self._is_open = False
        with _lock:
            _users[self._identity] -= 1
            if _users[self._identity] > 0:
                return
            del _users[self._identity]
            for identity in (self._identity, *_indexes.pop(self._identity, ())):
                with suppress(OSError):
                    os.close(_descriptors.pop(identity))

    def check(self, *, to_read: bool = False) -> bool:
        """Raise LedgerError if the file is damaged or not the one that was opened. True if it has changed.

        to_read: the open connection may still read a file that was deleted or replaced.
        """
        if self._identity is None:
            return False
        status = _status(self.path)
        if status is not None and (status.st_dev, status.st_ino) != self._identity and self._is_renumbered(status):
            return False
        if status is None or (status.st_dev, status.st_ino) != self._identity:
            if to_read:
                return False
            raise LedgerError(
                f"the ledger {self._location} was deleted or replaced while it was in use, and nothing is sent without "
                "it: put it back where it was, or restart the kernel to use the new file. If nothing touched it and it "
                "is on a network drive, point LLM_MAGIC_LEDGER at a local disk"
            )
        if self._is_open:
            self._check_log()
        state = status.st_mtime_ns, status.st_size
        if state == self._verified:
            return False
        self._check_content(status.st_size)
        self._verified = state
        return True

    def _check_log(self) -> None:
        """Raise LedgerError if the write-ahead log, in which the latest rows are, is not whole."""
        path = f"{self.path}-wal"
        status = _status(path)
        if status is None:
            if self._log_identity is not None:
                raise self._lost_log("deleted")
            return  # no transaction yet, or a rollback journal
        identity = status.st_dev, status.st_ino
        if self._log_identity not in (None, identity):
            raise self._lost_log("replaced")
        # Another program may have moved the log's rows into the file and truncated it, and may have begun it again.
        if status.st_size < self._log_size and self._is_log_truncated(path):
            raise self._lost_log("truncated")
        self._log_size, self._log_identity = status.st_size, identity

    def _is_log_truncated(self, path: str) -> bool:
        """True if the log is shorter than its index states, before and after its size was read."""
        indexed = self._indexed_log_size()
        status = _status(path)
        return status is not None and status.st_size < indexed == self._indexed_log_size()

    def _indexed_log_size(self) -> int:
        """Return the bytes of the log that are in use, by its index (https://www.sqlite.org/walformat.html, 2.1)."""
        index = self._log_index()
        page_bytes = int.from_bytes(index[14:16], sys.byteorder)
        page_bytes = 65_536 if page_bytes == 1 else page_bytes
        frames, moved = (int.from_bytes(index[start : start + 4], sys.byteorder) for start in (16, 96))
        return 0 if frames <= moved else _LOG_HEADER_BYTES + frames * (_FRAME_HEADER_BYTES + page_bytes)

    def _log_index(self) -> bytes:
        path = f"{self.path}-shm"
        if self._identity is None or (status := _status(path)) is None:
            return b""
        if not hasattr(os, "pread"):  # Windows: closing a file releases no lock, and an open one can't be deleted
            with Path(path).open("rb", buffering=0) as file:
                return file.read(_HEADER_BYTES)
        identity = status.st_dev, status.st_ino
        with _lock:
            _keep_open(path, identity)
            _indexes[self._identity].add(identity)
        return _start_of(identity) or b""

    def _lost_log(self, event: str) -> LedgerError:
        return LedgerError(
            f"the ledger {self._location} has lost its latest rows, and nothing is sent without them: its log "
            f"{self.path}-wal was {event} while it was in use. Restart the kernels and programs that use the ledger to "
            "continue from the rows that are left, or restore a backup"
        )

    def _is_renumbered(self, status: os.stat_result) -> bool:
        """True if it is the open file under another inode number, which some network drives change."""
        assert self._identity is not None
        if (descriptor := _descriptors.get(self._identity)) is None:
            return False
        opened = os.fstat(descriptor)
        return (opened.st_dev, opened.st_ino) == (status.st_dev, status.st_ino)

    def check_whole(self, db: sqlite3.Connection) -> None:
        """Check all pages of a file that was just opened, unless it is large."""
        if (status := _status(self.path)) is not None and status.st_size <= _CHECKED_AT_OPEN_BYTES:
            self._quick_check(db)

    def _check_content(self, size: int) -> None:
        header = self._header()
        # With a rollback journal, a new file is empty until the first transaction.
        is_new = header == b"" and self._verified[1] == 0
        if header is not None and not (is_new or header.startswith(_MAGIC)):
            raise self._damaged("its header is not that of a database")
        is_short = bool(header) and _stated_size(header) > size
        if is_short or size < self._verified[1] or size <= _CHECKED_IN_USE_BYTES:
            address = f"{Path(self.path).absolute().as_uri()}?mode=ro"
            with closing(sqlite3.connect(address, uri=True, timeout=0.1)) as db:
                self._quick_check(db)

    def _header(self) -> bytes | None:
        """Return the first bytes of the file; None while it is closed."""
        assert self._identity is not None
        return _start_of(self._identity)

    def _quick_check(self, db: sqlite3.Connection) -> None:
        try:
            problem = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.OperationalError:  # locked, or no such right: the next statement says so
            return
        except sqlite3.DatabaseError as error:
            problem = str(error)
        if problem != "ok":
            raise self._damaged(" ".join(problem.split()))

    def _damaged(self, problem: str) -> LedgerError:
        return LedgerError(
            f"the ledger {self._location} is damaged, and nothing is sent without it: {problem}. Its file was "
            "overwritten or truncated: restore a backup, or move it away to begin with an empty ledger"
        )


def _keep_open(path: str, identity: Identity) -> None:
    if identity not in _descriptors:
        _descriptors[identity] = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))


def _start_of(identity: Identity) -> bytes | None:
    """Return the first bytes of a file that is kept open; None if it is closed."""
    if (descriptor := _descriptors.get(identity)) is None:
        return None
    if hasattr(os, "pread"):  # a forked child shares the position of the descriptor
        return os.pread(descriptor, _HEADER_BYTES, 0)
    with _lock:
        os.lseek(descriptor, 0, os.SEEK_SET)
        return os.read(descriptor, _HEADER_BYTES)


def _stated_size(header: bytes) -> int:
    """Return the size in bytes that a database's header states (https://www.sqlite.org/fileformat.html, 1.3)."""
    page_bytes = int.from_bytes(header[16:18], "big")
    return int.from_bytes(header[28:32], "big") * (65_536 if page_bytes == 1 else page_bytes)


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path) if path else None
    except FileNotFoundError:
        return None
