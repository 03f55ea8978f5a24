"""Put the `uv` that uv.lock names at the path given: `python3 scripts/get_uv.py build/bin/uv`.

Standard library only, because it runs before anything is installed: a Debian `python3` has neither pip nor venv.
The address and the sha256 both come from the lock, so nothing is run that was not reviewed with it.
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
OWN_UV = "Or install uv yourself (https://docs.astral.sh/uv/) so that `uv` is on the PATH: it is then used as it is."


def platform_tags(system: str, machine: str, *, glibc: bool) -> list[str]:
    """Patterns for the platform tags of wheels that run on such a machine, best first."""
    machine = machine.lower()
    if system == "Darwin":
        return [rf"macosx_\d+_\d+_{machine}"]
    if system == "Windows":
        return [{"x86": "win32"}.get(machine, f"win_{machine}")]
    # uv's musl builds are static: where no glibc build is, they do for glibc too.
    return [rf"manylinux_\d+_\d+_{machine}"] * glibc + [rf"musllinux_\d+_\d+_{machine}"]


def locked_wheel(lock: Path, tags: list[str]) -> tuple[str, str]:
    """The (url, sha256) of uv's wheel for the first of `tags` that the lock has; the oldest platform version wins."""
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
    found = hashlib.sha256(body).hexdigest()
    if found != sha256:
        raise SystemExit(
            f"The download of {url} is not the file that uv.lock names; nothing was installed.\n"
            f"  expected sha256 {sha256}\n  found    sha256 {found} ({len(body)} bytes)\n"
            f"Try again; if it stays so, something between you and the index changes files. {OWN_UV}"
        )
    return body


def advice(exc: Exception) -> str:
    if isinstance(getattr(exc, "reason", exc), ssl.SSLCertVerificationError):
        return (
            "Python has no certificate to trust it by. Debian: apt-get install ca-certificates. macOS, Python of\n"
            "python.org: run 'Install Certificates.command' in its folder. Proxy: SSL_CERT_FILE=/path/ca.pem make setup"
        )
    return "Check the network; a proxy is read from the variable HTTPS_PROXY."


def install(wheel: bytes, target: Path) -> None:
    """Write the wheel's executable to `target`; a half-written file is never seen there."""
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
    print(f"no `uv` on the PATH: fetching {url.rpartition('/')[2]} for this checkout alone", flush=True)
    install(download(url, sha256), target)
    print(f"sha256 as in uv.lock; uv is {target}")


if __name__ == "__main__":
    main(sys.argv[1:])
