"""Ledger files that are overwritten or truncated: refused before anything is sent."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from llm_magic import Ledger, LedgerError
from llm_magic.providers.base import ProviderRequest
from llm_magic.testing import Reply, ScriptedProvider
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


LOG_EVENTS = {"truncated": [0, 32, 0.5], "deleted": [None], "replaced": ["copy"]}


def damage_log(path: Path, how: float | str | None) -> None:
    """how: the bytes or the share that is left; None deletes the log, and a text replaces it by a copy."""
    log = path.with_name(f"{path.name}-wal")
    if how is None:
        log.unlink()
    elif isinstance(how, str):
        copy = log.with_suffix(".copy")
        copy.write_bytes(log.read_bytes())
        copy.rename(log)
    else:
        os.truncate(log, int(log.stat().st_size * how if how < 1 else how))


@pytest.mark.skipif(os.name == "nt", reason="Windows locks an open file")
@pytest.mark.parametrize(("event", "how"), [(event, how) for event, ways in LOG_EVENTS.items() for how in ways])
@pytest.mark.parametrize("has_backfilled", [False, True])
def test_a_log_that_is_damaged_in_use_is_named_before_anything_is_sent(
    path: Path, ledger: Ledger, event: str, how: float | str | None, has_backfilled: bool
) -> None:
    router = builders.router(builders.model("only"), ledger=ledger)
    pay(ledger, range(20))
    if has_backfilled:
        checkpoint(path)
    pay(ledger, range(20, 23))
    damage_log(path, how)
    for _ in range(2):
        with pytest.raises(LedgerError, match=rf"its log .*ledger\.db-wal was {event} .* Restart the kernels"):
            router.route_sync("hello")
    assert scripted(router).requests == []


@pytest.mark.skipif(os.name == "nt", reason="Windows locks an open file")
def test_a_ledger_whose_log_was_emptied_is_whole_again_when_its_process_opens_it_again(
    path: Path, ledger: Ledger
) -> None:
    pay(ledger, range(20))
    checkpoint(path)
    pay(ledger, range(20, 25))
    damage_log(path, 0)
    with pytest.raises(LedgerError, match="was truncated"):
        pay(ledger, range(25, 26))
    ledger.close()
    pay(ledger, range(26, 27))
    assert ledger.spent_usd == 26 * CENT
    assert ledger.warnings


@pytest.mark.skipif(os.name == "nt", reason="Windows locks an open file")
@pytest.mark.parametrize("how", [0, None])
def test_an_answer_that_was_paid_while_the_log_was_damaged_is_given_with_a_note_and_recorded_later(
    path: Path, ledger: Ledger, how: float | None
) -> None:
    pay(ledger, range(20))
    checkpoint(path)
    pay(ledger, range(20, 22))

    def damage(_: ProviderRequest) -> Reply:
        damage_log(path, how)
        return Reply(chunks=("paid",))

    router = builders.router(builders.model("only"), ledger=ledger, providers={"cloud": ScriptedProvider(damage)})
    result = router.route_sync("hello")
    assert result.text == "paid"
    assert any("-wal was" in note for note in result.notes), result.notes
    ledger.close()
    assert ledger.spent_usd == 22 * CENT + result.cost_usd


def test_a_log_that_another_program_moved_into_the_file_raises_no_alarm(path: Path, ledger: Ledger) -> None:
    other = Ledger(path, session_id="session")
    for start in range(0, 40, 4):
        pay(ledger, range(start, start + 2))
        checkpoint(path)
        pay(other, range(start + 2, start + 4))
    assert ledger.spent_usd == other.spent_usd == 40 * CENT
    other.close()


@pytest.mark.skipif(os.name == "nt", reason="Windows locks an open file")
@pytest.mark.parametrize("how", [0, 0.5, None])
def test_a_ledger_whose_log_is_damaged_is_not_opened_by_another_program(
    path: Path, ledger: Ledger, how: float | None
) -> None:
    pay(ledger, range(20))
    damage_log(path, how)
    with pytest.raises(LedgerError, match=r"Its file, or its log .*-wal, was .* end the programs that use the ledger"):
        Ledger(path)


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
        checkpoint(path)
        pay(first, range(2, 3))
        first.close()
        pay(second, range(3, 4))
        second.close()
        path.unlink()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.skipif(os.name == "nt", reason="Windows releases no locks of other handles")
def test_closing_one_ledger_keeps_the_locks_of_another_on_the_index_of_the_log(path: Path, ledger: Ledger) -> None:
    other = Ledger(path, session_id="session")
    pay(ledger, range(5))
    pay(other, range(5, 10))
    checkpoint(path)
    pay(other, range(10, 11))
    other.close()
    code = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+b'), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 128)"
    index = f"{path}-shm"
    done = subprocess.run([sys.executable, "-c", code, index], capture_output=True, text=True, check=False)
    assert "BlockingIOError" in done.stderr
    pay(ledger, range(11, 12))


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="reads open files in /proc")
def test_the_index_of_the_log_is_not_kept_open_on_windows(
    path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "pread")
    pay(ledger, range(5))
    checkpoint(path)
    pay(ledger, range(5, 6))
    files = [os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    assert files.count(f"{path}-shm") == 1, "SQLite's own"


def test_growing_and_checkpoints_raise_no_alarm(path: Path, ledger: Ledger) -> None:
    other = Ledger(path, session_id="session")
    for start in range(0, 400, 40):
        pay(ledger, range(start, start + 20))
        checkpoint(path)
        pay(other, range(start + 20, start + 40))
    assert ledger.spent_usd == 400 * CENT
    other.close()
