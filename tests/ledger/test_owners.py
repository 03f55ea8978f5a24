"""Processes that hold money: named uniquely, and judged by a lookup or by their lease."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from llm_magic.ledger import owners

NOW = 1_000_000.0


def test_this_process_is_alive_and_one_that_ended_is_dead() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        name = owners.process_name(child.pid)
        assert not owners.is_dead(NOW)(name, NOW - 1)
    dead = owners.is_dead(NOW)
    assert dead(name, NOW + 1)
    assert not dead(owners.process_name(os.getpid()), NOW - 1)


@pytest.mark.skipif(sys.platform == "win32", reason="no zombies")
def test_a_killed_process_that_is_a_zombie_is_dead() -> None:
    """In a container whose first process reaps none, it stays in the process table for good."""
    import psutil

    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = owners.process_name(child.pid)
    assert not owners.is_dead(NOW)(owner, NOW + 1)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE
    assert owners.is_dead(NOW)(owner, NOW + 1)
    child.communicate()


def test_a_process_id_that_was_reused_is_not_the_holder() -> None:
    space, pid, started = owners.process_name(os.getpid()).rsplit(" ", 2)
    assert owners.is_dead(NOW)(f"{space} {pid} {float(started) - 100:.2f}", NOW + 1)


@pytest.mark.skipif(sys.platform != "linux", reason="boot and PID namespace are read from /proc")
@pytest.mark.parametrize("other", ["boot", "namespace"])
def test_the_same_host_name_with_another_boot_or_namespace_is_judged_by_its_lease(other: str) -> None:
    host, boot, namespace = owners.pid_space().split("/")
    space = f"{host}/other/{namespace}" if other == "boot" else f"{host}/{boot}/1"
    name = f"{space} {os.getpid()} {time.time():.2f}"
    assert not owners.is_dead(NOW)(name, NOW + 1)
    assert owners.is_dead(NOW)(name, NOW - 1)
