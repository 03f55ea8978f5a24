"""One PostgreSQL server for all processes of a test run, on a free port of loopback."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import subprocess
import tempfile
import uuid
from pathlib import Path
from typing import Any

USER = "postgres"


def binaries() -> Path | None:
    """The folder of initdb and pg_ctl: on the PATH, or the one of Debian's package."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


def unusable() -> str | None:
    """The reason why no server can be started here, or None."""
    if binaries() is None:
        return "no PostgreSQL is installed (Debian: apt-get install postgresql)"
    if os.name != "posix":
        return "PostgreSQL is started as another user, which needs POSIX"
    return None


def start(shared: Path) -> str:
    """Start the server, or join the one that another process of this test run has started. Returns its address.

    `shared`: a folder of the test run, which `stop` gets too.
    """
    with (shared / "postgres.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        state = shared / "postgres.json"
        if not state.exists():
            folder, port = _started()
            state.write_text(json.dumps({"folder": folder, "address": f"postgresql://{USER}@127.0.0.1:{port}"}))
        return json.loads(state.read_text())["address"]


def stop(shared: Path) -> None:
    """Stop the server, if one was started."""
    state = shared / "postgres.json"
    if state.exists():
        folder = Path(json.loads(state.read_text())["folder"])
        _pg("pg_ctl", "stop", "-D", folder / "data", "-m", "immediate", cwd=folder)
        shutil.rmtree(folder, ignore_errors=True)


def _started() -> tuple[str, int]:
    folder = Path(tempfile.mkdtemp(prefix="llm_magic-pg-"))
    if os.geteuid() == 0:
        shutil.chown(folder, USER, USER)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    data = folder / "data"
    _pg("initdb", "-D", data, "-U", USER, "-A", "trust", "--no-sync", "-E", "UTF8", cwd=folder)
    _start(folder, port)
    return str(folder), port


def _start(folder: Path, port: int) -> None:
    unsafe = "-c fsync=off -c full_page_writes=off -c synchronous_commit=off"
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 {unsafe}"
    _pg("pg_ctl", "start", "-w", "-t", "60", "-D", folder / "data", "-l", folder / "log", "-o", options, cwd=folder)


def _pg(program: str, *arguments: object, cwd: Path) -> None:
    """Run one of PostgreSQL's programs. It refuses to run as root; Debian's package has made a user for it."""
    where = binaries()
    assert where is not None
    drop: dict[str, Any] = {"user": USER, "group": USER, "extra_groups": []} if os.geteuid() == 0 else {}
    command = [str(where / program), *map(str, arguments)]
    subprocess.run(command, check=True, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **drop)


def new_database(server: str) -> str:
    """Make an empty database; returns its address."""
    import psycopg

    name = f"ledger_{uuid.uuid4().hex}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as db:
        db.execute(f'CREATE DATABASE "{name}"')
    return f"{server}/{name}"


class OwnServer:
    """A PostgreSQL server of one test, which can be stopped and started."""

    def __init__(self) -> None:
        folder, self._port = _started()
        self._folder = Path(folder)
        self._address = f"postgresql://{USER}@127.0.0.1:{self._port}"

    def new_database(self) -> str:
        return new_database(self._address)

    def stop(self) -> None:
        _pg("pg_ctl", "stop", "-D", self._folder / "data", "-m", "fast", cwd=self._folder)

    def start(self) -> None:
        _start(self._folder, self._port)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
