"""The random search: `make fuzz` runs the property tests with random seeds until its time is over."""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time

_FACTOR = "FUZZ_FACTOR"
ROUND_FACTOR = 10
"""A round takes about a minute on two cores."""


def examples(count: int) -> int:
    """Return the number of examples of a property test: `count` in `make test`, many times that in `make fuzz`."""
    return count * int(os.environ.get(_FACTOR, "1"))


def run_round(seed: int) -> int:
    """Run every property test with one seed; returns pytest's exit code."""
    options = "-q -n auto --maxprocesses 4 --dist worksteal --hypothesis-profile fuzz --hypothesis-seed"
    chosen = "hypothesis and not lab and not slow and not browser"
    command = [sys.executable, "-m", "pytest", "-m", chosen, *options.split(), str(seed)]
    return subprocess.run(command, env={**os.environ, _FACTOR: str(ROUND_FACTOR)}, check=False).returncode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, help="run one round with this seed, to repeat a failure")
    options = parser.parse_args()
    began = time.monotonic()
    took_s = 0.0
    rounds = 0
    # A round that would end after the limit is not started.
    while rounds == 0 or (options.seed is None and time.monotonic() - began + took_s < options.minutes * 60):
        seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
        print(f"fuzz: round {rounds + 1}, seed {seed}", flush=True)
        started = time.monotonic()
        if code := run_round(seed):
            sys.exit(f"fuzz: failed with exit code {code}; repeat it with: make fuzz FUZZ_SEED={seed}")
        took_s = time.monotonic() - started
        rounds += 1
    print(f"fuzz: {rounds} rounds in {time.monotonic() - began:.0f} s, {ROUND_FACTOR} times the examples in each")


if __name__ == "__main__":
    main()
