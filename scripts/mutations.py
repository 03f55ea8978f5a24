"""Restore known faults, one at a time, in a copy of the package, and check that the tests fail: `make mutations`.

Prints a table, and exits with an error if a fault is not noticed, or if the text that it replaces is gone.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_S = 120
WORKERS = 2
PROPERTY = "tests/ledger/test_hostile_providers.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A replacement of a text that occurs once in a file of llm_magic/."""

    path: str
    old: str
    new: str

    def apply(self, package: Path) -> None:
        file = package / self.path
        text = file.read_text("utf-8")
        if (count := text.count(self.old)) != 1:
            raise LookupError(f"llm_magic/{self.path} contains this text {count} times, not once: {self.old!r}")
        file.write_text(text.replace(self.old, self.new), "utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """A fault to restore, and the tests that must fail then."""

    fault: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]


def _mutation(fault: str, *edits: tuple[str, str, str], tests: tuple[str, ...] = (PROPERTY,)) -> Mutation:
    replacements = tuple(Edit(path=path, old=old, new=new) for path, old, new in edits)
    return Mutation(fault=fault, edits=replacements, tests=tests)


MUTATIONS = (
    _mutation(
        "hidden reasoning is not charged",
        (
            "execute/charge.py",
            "hidden = _hidden_tokens(state, now, learned_pace)",
            "hidden = 0",
        ),
    ),
    _mutation(
        "an estimate is not bounded by its hold and limit",
        ("execute/charge.py", "max(usage.output_tokens, min(limit, counted))", "max(usage.output_tokens, 3 * counted)"),
        ("execute/settlement.py", "else min(usd, held_usd)\n", "else usd\n"),
    ),
    _mutation(
        "a report of 0 or too few tokens is believed",
        (
            "execute/charge.py",
            "if usage.output_tokens < 0 or _is_too_few(usage.output_tokens, _MIN_ANSWER_SHARE, received, model):",
            "if usage.output_tokens < 0:",
        ),
    ),
    _mutation(
        "a settlement without its row is lost",
        (
            "ledger/continuity.py",
            "            self.check(db)\n            row, was_gone = self._table.write_settlement(db, attempt)\n",
            "            return False\n",
        ),
    ),
    _mutation(
        "closing a stream does not cancel it upstream",
        (
            "bridge.py",
            "        self.cancel()\n        with suppress(TimeoutError):\n"
            "            async with asyncio.timeout(SETTLE_TIMEOUT_S):\n                await self.ajoin()\n",
            "        while not self._done.is_set():\n            await self.next_item()\n",
        ),
    ),
    _mutation(
        "the owner of a hold is known by its host name alone",
        (
            "ledger/owners.py",
            'return f"{socket.gethostname()}/{boot}/{namespace}"',
            "return socket.gethostname()",
        ),
    ),
    _mutation(
        "the SDK's error, which contains the key, stays in the chain",
        (
            "providers/errors.py",
            "translation.__cause__ = _RedactedCause.of(error, endpoint)",
            "translation.__cause__ = error",
        ),
    ),
    _mutation(
        "an error event of an accepted stream is free",
        ("execute/charge.py", "not (failure.billed or failure.accepted)", "True"),
    ),
    _mutation(
        "an attempt that was not sent is charged",
        ("execute/charge.py", "if not state.was_sent or (", "if ("),
    ),
    _mutation(
        "a hedged stream that is closed does not wait for its models",
        (
            "execute/hedge.py",
            "        await stop_all(attempts)\n",
            "        for attempt in attempts:\n            attempt.task.cancel()\n",
        ),
        tests=("tests/execute/test_hedge.py",),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The outcome of the tests. failed: the first one that failed; an empty text if none did, or if they hung."""

    failed: str
    seconds: float
    hung: bool = False

    def __str__(self) -> str:
        return self.failed or ("HANGS" if self.hung else "NOT NOTICED")


class Copy:
    """A copy of the package and its tests."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in ("llm_magic", "tests"):
            shutil.copytree(ROOT / name, folder / name)
        shutil.copy(ROOT / "pyproject.toml", folder)

    def run(self, mutation: Mutation) -> Result:
        """Run the tests with a mutation, and undo it."""
        started = time.monotonic()
        package = self._folder / "llm_magic"
        try:
            for edit in mutation.edits:
                edit.apply(package)
            failed, hung = self._first_failure(mutation.tests), False
        except subprocess.TimeoutExpired:
            failed, hung = "", True
        finally:
            for edit in mutation.edits:
                shutil.copy2(ROOT / "llm_magic" / edit.path, package / edit.path)
        return Result(failed=failed, seconds=time.monotonic() - started, hung=hung)

    def _first_failure(self, tests: tuple[str, ...]) -> str:
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "--tb=no",
            "-p",
            "no:cacheprovider",
            "--basetemp=temporary",
            *tests,
        ]
        # `python -m` puts the working folder first on the path, before the installed package.
        environment = {
            name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")
        }
        done = subprocess.run(
            command, cwd=self._folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        if done.returncode == 0:
            return ""
        failure = re.search(r"^FAILED \S+?::(.+?)(?: - |$)", done.stdout, re.MULTILINE)
        if done.returncode != 1 or failure is None:
            raise RuntimeError(f"pytest ended with exit code {done.returncode}:\n{done.stdout}{done.stderr}")
        return failure[1]


def run_all(mutations: Sequence[Mutation]) -> list[Result]:
    """Run the tests with each mutation, and print the rows of the table."""
    with tempfile.TemporaryDirectory(prefix="llm_magic-mutations-") as folder:
        copies: SimpleQueue[Copy] = SimpleQueue()
        for number in range(WORKERS):
            copies.put(Copy(Path(folder, str(number))))

        def run(mutation: Mutation) -> Result:
            copy = copies.get()
            try:
                result = copy.run(mutation)
            finally:
                copies.put(copy)
            print(f"| {mutation.fault} | {result} | {result.seconds:.0f} |", flush=True)
            return result

        with ThreadPoolExecutor(WORKERS) as pool:
            return list(pool.map(run, mutations))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="only the faults that contain one of these")
    words = parser.parse_args().words
    chosen = [mutation for mutation in MUTATIONS if not words or any(word in mutation.fault for word in words)]
    print("| fault | first test that fails | s |\n|---|---|---|", flush=True)
    results = run_all(chosen)
    if survivors := [mutation.fault for mutation, result in zip(chosen, results, strict=True) if not result.failed]:
        sys.exit(f"not noticed: {'; '.join(survivors)}")


if __name__ == "__main__":
    main()
