"""scripts/get_uv.py, which runs before anything is installed."""

import hashlib
import importlib.util
import stat
import zipfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent.parent / "scripts" / "get_uv.py"
spec = importlib.util.spec_from_file_location("get_uv", SCRIPT)
assert spec
assert spec.loader
get_uv = importlib.util.module_from_spec(spec)
spec.loader.exec_module(get_uv)


@pytest.mark.parametrize(
    ("system", "machine", "glibc", "expected"),
    [
        ("Linux", "x86_64", True, "manylinux_2_17_x86_64"),
        ("Linux", "aarch64", True, "aarch64"),
        ("Linux", "x86_64", False, "musllinux"),
        ("Linux", "aarch64", False, "musllinux"),
        ("Darwin", "arm64", False, "macosx_11_0_arm64"),
        ("Darwin", "x86_64", False, "macosx_10_12_x86_64"),
        ("Windows", "AMD64", False, "win_amd64"),
    ],
)
def test_the_lock_file_has_a_wheel_of_uv_for_each_platform(
    system: str, machine: str, glibc: bool, expected: str
) -> None:
    """Each platform gets its own wheel."""
    url, sha256 = get_uv.locked_wheel(get_uv.LOCK, get_uv.platform_tags(system, machine, glibc=glibc))
    assert expected in url
    assert len(sha256) == 64


def test_an_unknown_machine_is_reported_with_a_way_out() -> None:
    """The message asks the user to install uv."""
    with pytest.raises(SystemExit, match=r"no uv for this machine .*Or install uv yourself"):
        get_uv.locked_wheel(get_uv.LOCK, get_uv.platform_tags("Linux", "vax", glibc=True))


def test_a_changed_download_is_refused(tmp_path: Path) -> None:
    """The download is compared with the sha256 of the lock file, and the message has both."""
    wheel = tmp_path / "uv.whl"
    wheel.write_bytes(b"not it")
    with pytest.raises(
        SystemExit, match=f"(?s)doesn't match uv.lock.*{'0' * 64}.*{hashlib.sha256(b'not it').hexdigest()}"
    ):
        get_uv.download(wheel.as_uri(), "0" * 64)


def test_a_failed_download_names_the_address(tmp_path: Path) -> None:
    """A failed download reports what failed and how to proceed."""
    with pytest.raises(SystemExit, match=r"(?s)Could not download file:.*Or install uv yourself"):
        get_uv.download((tmp_path / "absent.whl").as_uri(), "0" * 64)


def test_an_older_executable_is_replaced_atomically(tmp_path: Path) -> None:
    """The executable has its mode set, and no temporary file remains."""
    wheel, target = tmp_path / "uv.whl", tmp_path / "bin" / "uv"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("uv-1.data/scripts/uv", b"new")
    target.parent.mkdir()
    target.write_bytes(b"old")
    get_uv.install(wheel.read_bytes(), target)
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o755
    assert list(target.parent.iterdir()) == [target]
