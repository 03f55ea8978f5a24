"""Download the `uv` of uv.lock: `python3 scripts/get_uv.py build/bin/uv`.

Uses the standard library only, because nothing is installed yet: Debian's `python3` has neither pip nor venv. The URL
and the sha256 come from the lock file, so only a reviewed file is run.
"""

import hashlib
import io
import os
import platform
import re
import ssl
import sys
import tempfile
import tomllib
import urllib.request
import zipfile
from pathlib import Path

LOCK = Path(__file__).resolve().parent.parent / "uv.lock"
OWN_UV = "Or install uv yourself (https://docs.astral.sh/uv/); a `uv` on the PATH is used instead."


def platform_tags(system: str, machine: str, *, glibc: bool) -> list[str]:
    """Return patterns for the platform tags of wheels that run on a machine, best first."""
    machine = machine.lower()
    if system == "Darwin":
        return [rf"macosx_\d+_\d+_{machine}"]
    if system == "Windows":
        return [{"x86": "win32"}.get(machine, f"win_{machine}")]
    # uv's musl builds are static, so they also run on glibc if no glibc build exists.
    return [rf"manylinux_\d+_\d+_{machine}"] * glibc + [rf"musllinux_\d+_\d+_{machine}"]


def locked_wheel(lock: Path, tags: list[str]) -> tuple[str, str]:
    """Return the (url, sha256) of the first of `tags` that is locked; the oldest platform version wins."""
    packages = tomllib.loads(lock.read_text(encoding="utf-8"))["package"]
    wheels = next((p["wheels"] for p in packages if p["name"] == "uv"), [])
    for tag in tags:
        for wheel in wheels:
            if re.search(rf"[-.]{tag}[.]", wheel["url"].rpartition("/")[2]):
                return wheel["url"], wheel["hash"].removeprefix("sha256:")
    raise SystemExit(f"{lock.name} has no uv for this machine ({' or '.join(tags)}). {OWN_UV}")


def download(url: str, sha256: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            body = response.read()
    except OSError as exc:
        raise SystemExit(f"Could not download {url}\n  {exc}\n{advice(exc)}\n{OWN_UV}") from None
    actual = hashlib.sha256(body).hexdigest()
    if actual != sha256:
        raise SystemExit(
            f"The download of {url} doesn't match uv.lock; nothing was installed.\n"
            f"  expected sha256 {sha256}\n  actual   sha256 {actual} ({len(body)} bytes)\n"
            f"Try again. If the error persists, something between you and the index modifies files. {OWN_UV}"
        )
    return body


def advice(exc: Exception) -> str:
    if isinstance(getattr(exc, "reason", exc), ssl.SSLCertVerificationError):
        return (
            "Python has no certificate authority for this server. Debian: apt-get install ca-certificates.\n"
            "macOS, Python of python.org: run 'Install Certificates.command' in its folder.\n"
            "Proxy: SSL_CERT_FILE=/path/ca.pem make setup"
        )
    return "Check the network. HTTPS_PROXY sets a proxy."


def install(wheel: bytes, target: Path) -> None:
    """Write the wheel's executable to `target` atomically."""
    name = "uv.exe" if os.name == "nt" else "uv"
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        member = next(m for m in archive.namelist() if m.endswith(f".data/scripts/{name}"))
        binary = archive.read(member)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".uv-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(binary)
        os.chmod(temporary, 0o755)  # mkstemp made it 0600
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def main(arguments: list[str]) -> None:
    if len(arguments) != 1:
        raise SystemExit("usage: python3 scripts/get_uv.py PATH")
    target = Path(arguments[0])
    tags = platform_tags(platform.system(), platform.machine(), glibc=platform.libc_ver()[0] == "glibc")
    url, sha256 = locked_wheel(LOCK, tags)
    print(f"no `uv` on the PATH: downloading {url.rpartition('/')[2]} for this checkout only", flush=True)
    install(download(url, sha256), target)
    print(f"The sha256 matches uv.lock. uv is {target}")


if __name__ == "__main__":
    main(sys.argv[1:])
