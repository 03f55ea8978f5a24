"""A PostgreSQL server of the tests' own, on a free port of loopback."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

USER = "postgres"


def binaries() -> Path | None:
    """The folder of initdb and postgres: on the PATH, or where Debian's package puts them."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


def unusable() -> str | None:
    """Why no server can be started here; None where one can."""
    if binaries() is None:
        return "no PostgreSQL is installed (Debian: apt-get install postgresql)"
    if os.name != "posix":
        return "PostgreSQL is started as another user, which needs POSIX"
    return None


@contextmanager
def running() -> Iterator[str]:
    """The address of the server: `postgresql://...`, without a database."""
    where = binaries()
    assert where is not None
    # It refuses to run as root; Debian's package has made a user for it.
    drop = {"user": USER, "group": USER, "extra_groups": []} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="llm_magic-pg-"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    try:
        if drop:
            shutil.chown(folder, USER, USER)
        data = folder / "data"
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
        made = [str(where / "initdb"), "-D", str(data), "-U", USER, "-A", "trust", "--no-sync", "-E", "UTF8"]
        subprocess.run(made, check=True, **drop, **quiet)  # type: ignore[call-overload]
        options = ["-p", str(port), "-k", str(folder), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        server = subprocess.Popen([str(where / "postgres"), "-D", str(data), *options], **drop, **quiet)  # type: ignore[call-overload]
        try:
            _wait_until_ready(where, port)
            yield f"postgresql://{USER}@127.0.0.1:{port}"
        finally:
            server.send_signal(signal.SIGINT)  # at once, whoever is connected
            server.wait(20)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_ready(where: Path, port: int) -> None:
    for _ in range(300):
        ready = subprocess.run([str(where / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)], check=False)
        if ready.returncode == 0:
            return
        time.sleep(0.05)
    raise AssertionError("PostgreSQL did not come up")


def new_database(server: str) -> str:
    """The address of an empty database."""
    import psycopg

    name = f"ledger_{uuid.uuid4().hex}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as db:
        db.execute(f'CREATE DATABASE "{name}"')
    return f"{server}/{name}"
