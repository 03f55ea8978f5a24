"""Limits of this machine or container: free memory and usable cores. And a lock between processes."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from llm_magic.errors import LocalModelUnavailable

_ROOT = Path("/")


def available_memory_bytes() -> int:
    try:
        import psutil
    except ImportError as error:
        raise LocalModelUnavailable("psutil is missing: pip install llm-magic[local]") from error
    return psutil.virtual_memory().available


def free_memory_bytes(*, available: Callable[[], int] = available_memory_bytes, root: Path = _ROOT) -> int:
    """Return what this process can still allocate: the machine's available memory, or less in a container.

    `root` contains `/proc` and `/sys`.
    """
    free = available()
    for folder in _cgroups(root, "memory"):
        # Names of cgroup v2, then v1. "max" is not a number, and an absurdly large number has no effect.
        limit = _number(folder / "memory.max", folder / "memory.limit_in_bytes")
        used = _number(folder / "memory.current", folder / "memory.usage_in_bytes")
        if limit is not None and used is not None:
            free = min(free, limit - used + _reclaimable_bytes(folder))
    return max(0, free)


def usable_cores(*, root: Path = _ROOT) -> int:
    """Return the cores that this process can keep busy: its CPU affinity, or less in a container with a quota."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    for folder in _cgroups(root, "cpu"):
        quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        words = _read(folder / "cpu.max").split()
        if len(words) == 2 and all(word.isdigit() for word in words):
            quota, period = int(words[0]), int(words[1])
        if quota and period:
            cores = min(cores, math.ceil(quota / period))
    return max(1, cores)


def _cgroups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's control group and its ancestors, for v2 and for `controller` of v1.

    In a container the path may be the host's, of which only the top is mounted: missing folders are skipped.
    """
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / (controller if controllers else "")
        group = top / path.lstrip("/")
        yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(top) and folder.is_dir())


def _reclaimable_bytes(folder: Path) -> int:
    """Return the page cache that the kernel frees before it kills a process."""
    counts = dict(line.split(" ", 1) for line in _read(folder / "memory.stat").splitlines() if " " in line)
    return int(counts.get("total_inactive_file") or counts.get("inactive_file") or 0)


def _number(*paths: Path) -> int | None:
    for path in paths:
        if (text := _read(path).strip()).isdigit():
            return int(text)
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


class Lock:
    """A file lock between processes and threads, released when its holder dies.

    On a file system without locks, `supported` turns False and `acquire` always succeeds; the protected work is then
    done
    twice, which is harmless.
    """

    def __init__(self, path: Path) -> None:
        self.supported = True
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Try once, without waiting. Raises OSError if the file can't be created."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock(descriptor)
        except (BlockingIOError, PermissionError):
            os.close(descriptor)
            return False
        except OSError:
            self.supported = False
        self._descriptor = descriptor
        return True

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
