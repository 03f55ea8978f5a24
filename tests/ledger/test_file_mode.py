"""Access rights of the ledger's files and of the home."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from llm_magic import Ledger, LedgerError, permissions
from llm_magic.home import hash_key
from llm_magic.tuning import store
from llm_magic.tuning.estimation import Tuning
from tests.support.builders import attempt

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def use(path: Path | None) -> Ledger:
    ledger = Ledger(path, session_id="session")
    ledger.hold(attempt(), Decimal("0.01"), [])
    return ledger


def test_the_files_of_a_new_ledger_are_private(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folders" / "ledger.db"
    ledger = use(path)
    for suffix in ("", "-wal", "-shm"):
        assert mode(path.with_name(path.name + suffix)) == 0o600
    assert mode(path.parent) == mode(path.parent.parent) == 0o700
    ledger.close()


def test_the_files_of_an_existing_ledger_become_private_and_its_folder_stays(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir(mode=0o755)
    path = folder / "ledger.db"
    ledger = use(path)
    files = [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm")]
    for file in files:
        file.chmod(0o644)
    again = Ledger(path, session_id="session")
    assert [mode(file) for file in files] == [0o600] * 3
    assert mode(folder) == 0o755
    ledger.close()
    again.close()


def test_a_linked_ledger_and_one_with_the_address_of_a_file_become_private(tmp_path: Path) -> None:
    linked, address = tmp_path / "linked.db", tmp_path / "address.db"
    for path in (linked, address):
        path.touch(mode=0o644)
    (tmp_path / "link.db").symlink_to(linked)
    ledgers = [use(tmp_path / "link.db"), Ledger(f"sqlite:///file:{address}?uri=true", session_id="session")]
    assert {mode(path) for path in tmp_path.iterdir()} == {0o600}
    assert len([*tmp_path.glob("*-wal")]) == 2
    for ledger in ledgers:
        ledger.close()


@pytest.mark.parametrize("umask", [0o777, 0o177, 0])
def test_a_new_ledger_is_private_and_usable_with_any_umask(tmp_path: Path, umask: int) -> None:
    os.umask(umask)
    path = tmp_path / "new" / "ledger.db"
    ledger = use(path)
    assert [mode(path.parent), mode(path), mode(path.with_name("ledger.db-wal"))] == [0o700, 0o600, 0o600]
    ledger.close()


def test_a_ledger_that_is_read_only_stays_so(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    use(path).close()
    path.chmod(0o444)
    Ledger(path).close()
    assert mode(path) == 0o400


@pytest.mark.parametrize("stated", ["0660", "660", "0o660"])
def test_a_ledger_is_shared_on_purpose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stated: str) -> None:
    monkeypatch.setenv("LLM_MAGIC_LEDGER_MODE", stated)
    path = tmp_path / "team" / "ledger.db"
    ledger = use(path)
    for suffix in ("", "-wal", "-shm"):
        assert mode(path.with_name(path.name + suffix)) == 0o660
    assert mode(path.parent) == 0o770
    ledger.close()


@pytest.mark.parametrize("stated", ["rw", "0777", "0060", "-1", "0x10", "99"])
def test_a_mode_that_makes_no_sense_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stated: str) -> None:
    monkeypatch.setenv("LLM_MAGIC_LEDGER_MODE", stated)
    with pytest.raises(LedgerError, match=f"LLM_MAGIC_LEDGER_MODE='{stated}'"):
        Ledger(tmp_path / "ledger.db")


def test_the_home_is_private_whether_it_is_new_or_not(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LLM_MAGIC_LEDGER")
    use(None).close()
    assert mode(clean_environment) == 0o700
    clean_environment.chmod(0o755)
    for name in ("hash.key", "models.toml", "tuning.toml"):
        (clean_environment / name).write_text("")
        (clean_environment / name).chmod(0o644)
    Ledger(":memory:").close()
    assert mode(clean_environment) == 0o700
    assert {mode(file) for file in clean_environment.iterdir()} == {0o600}


def test_a_file_that_is_linked_into_the_home_keeps_its_mode(clean_environment: Path, tmp_path: Path) -> None:
    clean_environment.mkdir()
    shared = tmp_path / "models.toml"
    shared.write_text("")
    (clean_environment / "models.toml").symlink_to(shared)
    Ledger(":memory:").close()
    assert mode(shared) == 0o644


def test_a_shared_folder_as_the_home_keeps_its_mode(clean_environment: Path) -> None:
    clean_environment.mkdir()
    clean_environment.chmod(0o1777)
    Ledger(":memory:").close()
    assert stat.S_IMODE(clean_environment.stat().st_mode) == 0o1777


def test_other_files_in_the_home_are_created_private(clean_environment: Path) -> None:
    hash_key()
    path = store.save(Tuning())
    assert mode(clean_environment) == 0o700
    assert mode(clean_environment / "hash.key") == mode(path) == 0o600


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_the_modes_of_pipes_and_devices_are_never_changed(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    pipe.chmod(0o666)
    permissions.restrict(pipe)
    permissions.set_mode(pipe, 0o600)
    assert mode(pipe) == 0o666
