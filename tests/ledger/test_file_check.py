"""Ledger files that are overwritten or truncated: refused before anything is sent."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from llm_magic import Ledger, LedgerError
from tests.support import builders
from tests.support.builders import attempt, scripted

CENT = Decimal("0.01")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    ledger = Ledger(path, session_id="session")
    yield ledger
    ledger.close()


def pay(ledger: Ledger, numbers: range) -> None:
    for number in numbers:
        row = attempt(run_id=f"run{number}", cost_usd=CENT, error="x" * 400)
        with ledger.hold(row, CENT, []) as hold:
            hold.settle(row)


def overwrite(path: Path, start: int, count: int) -> None:
    """Overwrite a part of the file in place."""
    with path.open("r+b") as file:
        file.seek(start)
        file.write(os.urandom(count))
    _touch(path)


def _touch(path: Path) -> None:
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 10_000_000))


def checkpoint(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@pytest.mark.parametrize("has_pread", [True, False])
@pytest.mark.parametrize("part", ["all", "header", "middle", "half is gone", "empty"])
def test_a_file_that_is_damaged_in_use_is_refused_before_anything_is_sent(
    path: Path, ledger: Ledger, part: str, has_pread: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_pread:  # as on Windows
        monkeypatch.delattr(os, "pread", raising=False)
    router = builders.router(builders.model("only"), ledger=ledger)
    pay(ledger, range(60))
    checkpoint(path)
    router.route_sync("hello")
    count = len(scripted(router).requests)
    checkpoint(path)
    size = path.stat().st_size
    match part:
        case "all":
            overwrite(path, 0, size)
        case "header":
            overwrite(path, 0, 100)
        case "middle":
            overwrite(path, 4096, size // 2)
        case _:
            os.truncate(path, 0 if part == "empty" else size // 2)
            _touch(path)
    with pytest.raises(LedgerError, match=r"is damaged, and nothing is sent without it: .* restore a backup"):
        router.route_sync("hello again")
    assert len(scripted(router).requests) == count


@pytest.mark.parametrize("part", ["middle", "half is gone"])
def test_a_damaged_file_is_refused_when_it_is_opened(path: Path, ledger: Ledger, part: str) -> None:
    pay(ledger, range(60))
    ledger.close()
    size = path.stat().st_size
    if part == "middle":
        overwrite(path, 4096, size // 2)
    else:
        os.truncate(path, size // 2)
    with pytest.raises(LedgerError, match=r"is damaged|can't be opened"):
        Ledger(path)


def test_a_file_that_is_undamaged_again_is_used_again(path: Path, ledger: Ledger) -> None:
    pay(ledger, range(5))
    checkpoint(path)
    content = path.read_bytes()
    overwrite(path, 0, len(content))
    with pytest.raises(LedgerError, match="is damaged"):
        pay(ledger, range(5, 6))
    path.write_bytes(content)
    pay(ledger, range(6, 7))
    assert ledger.spent_usd == 6 * CENT


@pytest.mark.skipif(os.name == "nt", reason="Windows locks an open file")
def test_an_older_copy_that_is_written_over_the_file_is_noticed(path: Path, ledger: Ledger) -> None:
    pay(ledger, range(5))
    checkpoint(path)
    content = path.read_bytes()
    pay(ledger, range(5, 9))
    checkpoint(path)
    path.write_bytes(content)
    _touch(path)
    assert ledger.spent_usd == 9 * CENT
    pay(ledger, range(9, 12))
    assert ledger.spent_usd == 12 * CENT
    assert ledger.warnings


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="counts open files in /proc")
def test_closing_a_ledger_leaves_no_file_open(path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        first, second = Ledger(path), Ledger(path)
        pay(first, range(2))
        first.close()
        pay(second, range(2, 4))
        second.close()
        path.unlink()
    assert len(os.listdir("/proc/self/fd")) == before


def test_growing_and_checkpoints_raise_no_alarm(path: Path, ledger: Ledger) -> None:
    other = Ledger(path, session_id="session")
    for start in range(0, 400, 40):
        pay(ledger, range(start, start + 20))
        checkpoint(path)
        pay(other, range(start + 20, start + 40))
    assert ledger.spent_usd == 400 * CENT
    other.close()
