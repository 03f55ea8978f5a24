"""Killed processes, and two processes on one column: what was paid for is asked once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from llm_magic import Ledger
from tests.support import loopback
from tests.support.loopback import Answer

ROWS = 240
COLUMN = f"""
import sys
from llm_magic import Router
done = Router().map_sync(
    "Topic? {{{{value}}}}", over=[f"review number {{number}}" for number in range({ROWS})], model="gpt-5.5",
    max_output_tokens=50, pilot=5,
)
done.frame.to_csv(sys.argv[1])
print(done.report())
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("location", ["file", "postgresql"], indirect=True),
]


def start(server: loopback.Server, location: str, home: Path, out: Path) -> subprocess.Popen[str]:
    environment = {
        **os.environ, **server.environment(), "LLM_MAGIC_HOME": str(home), "LLM_MAGIC_LEDGER": location,
        "LLM_MAGIC_PROFILE": "article", "LLM_MAGIC_LOCAL": "0",
    }  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-c", COLUMN, str(out)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def asked(server: loopback.Server) -> Counter[str]:
    return Counter(entry.body["messages"][-1]["content"] for entry in server.journal)


def test_a_column_that_was_killed_asks_only_what_is_missing(location: str, tmp_path: Path) -> None:
    home, out, rng = tmp_path / "home", tmp_path / "out.csv", random.Random(7)  # noqa: S311 - not for secrets
    home.mkdir()
    with loopback.running() as server:
        server.prices["gpt-5.5"] = ("3", "12", "0.3", "3")
        server.script("gpt-5.5", Answer(chunks=("fine ", "answer"), pause_s=0.05))
        for _ in range(5):
            process, before = start(server, location, home, out), len(server.journal)
            server.wait_until(lambda before=before: len(server.journal) > before + 10, 60)
            time.sleep(rng.uniform(0.0, 0.3))
            process.send_signal(signal.SIGKILL)
            process.communicate()
        process = start(server, location, home, out)
        printed, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert f"{ROWS} of {ROWS} rows answered" in printed
        assert len(out.read_text().splitlines()) == ROWS + 1
        ledger = Ledger(location)
        uncertain = ledger.uncertain()
        counts = asked(server)
        assert len(counts) == ROWS
        assert sum(counts.values()) - ROWS <= len(uncertain)
        assert len(ledger.rows()) >= len(server.journal)
        settled = sum((row.cost_usd for row in ledger.rows()), Decimal(0))
        held = sum((usd for _, usd in uncertain), Decimal(0))
        whole = sum((entry.cost_usd for entry in server.journal if entry.ended == "whole"), Decimal(0))
        assert settled <= server.billed_usd <= settled + held
        assert settled <= whole


def test_two_processes_share_the_answers_of_a_column(location: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with loopback.running() as server:
        server.prices["gpt-5.5"] = ("3", "12", "0.3", "3")
        server.script("gpt-5.5", Answer(chunks=("fine ", "answer"), pause_s=0.05))
        processes = [start(server, location, home, tmp_path / f"{number}.csv") for number in range(2)]
        for process in processes:
            printed, errors = process.communicate(timeout=180)
            assert process.returncode == 0, errors
            assert f"{ROWS} of {ROWS} rows answered" in printed
        counts = asked(server)
        assert len(counts) == ROWS
        assert max(counts.values()) == 1
