"""Memory and cores: the limits of a container, not those of the machine."""

from pathlib import Path

import pytest

from llm_magic.providers.local.resources import Lock, free_memory_bytes, usable_cores

GIB = 1 << 30


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def free(root: Path) -> int:
    return free_memory_bytes(available=lambda: 8 * GIB, root=root)


def test_without_a_container_the_machines_memory_counts(tmp_path: Path) -> None:
    assert free(tmp_path) == 8 * GIB


def test_page_cache_counts_as_free_under_a_limit_of_v2(tmp_path: Path) -> None:
    top = "sys/fs/cgroup"
    files = {
        "proc/self/cgroup": "0::/\n",
        f"{top}/memory.max": f"{2 * GIB}\n",
        f"{top}/memory.current": f"{GIB}\n",
        f"{top}/memory.stat": f"anon 5\ninactive_file {GIB // 2}\n",
    }
    assert free(write(tmp_path, files)) == GIB + GIB // 2


def test_a_limit_of_an_ancestor_group_counts(tmp_path: Path) -> None:
    top = "sys/fs/cgroup"
    files = {
        "proc/self/cgroup": "0::/user.slice/notebook\n",
        f"{top}/user.slice/memory.max": f"{3 * GIB}\n",
        f"{top}/user.slice/memory.current": f"{GIB}\n",
        f"{top}/user.slice/notebook/memory.max": "max\n",
        f"{top}/user.slice/notebook/memory.current": "1\n",
    }
    assert free(write(tmp_path, files)) == 2 * GIB


def test_a_limit_of_v1_counts_although_the_path_is_the_hosts(tmp_path: Path) -> None:
    top = "sys/fs/cgroup/memory"
    files = {
        "proc/self/cgroup": "9:name=systemd:/\n4:memory:/docker/0123\n0::/\n",
        f"{top}/memory.limit_in_bytes": f"{GIB}\n",
        f"{top}/memory.usage_in_bytes": f"{GIB // 2}\n",
        f"{top}/memory.stat": "inactive_file 1\ntotal_inactive_file 100\n",
    }
    assert free(write(tmp_path, files)) == GIB // 2 + 100


def test_free_memory_is_never_negative(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/\n",
        "sys/fs/cgroup/memory.max": "10\n",
        "sys/fs/cgroup/memory.current": "20\n",
    }
    assert free(write(tmp_path, files)) == 0


def test_this_machine_has_memory_and_cores() -> None:
    assert free_memory_bytes() > 0
    assert usable_cores() >= 1


@pytest.mark.parametrize(
    "files",
    [
        {"sys/fs/cgroup/cpu.max": "50000 100000\n"},
        {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"},
    ],
    ids=["v2", "v1"],
)
def test_half_a_core_counts_as_one(tmp_path: Path, files: dict[str, str]) -> None:
    files = {"proc/self/cgroup": "3:cpu,cpuacct:/\n0::/\n", **files}
    assert usable_cores(root=write(tmp_path, files)) == 1


def test_without_a_quota_the_machines_cores_count(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}
    assert usable_cores(root=write(tmp_path, files)) == usable_cores(root=tmp_path / "nowhere")


def test_a_lock_has_one_holder(tmp_path: Path) -> None:
    first, second = Lock(tmp_path / "lock"), Lock(tmp_path / "lock")
    with first:
        assert first.acquire()
        assert not second.acquire()
    with second:
        assert second.acquire()
