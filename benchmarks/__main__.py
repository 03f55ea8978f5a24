"""Run all benchmarks, or those that are named: `make bench ARGS=ledger`."""

from __future__ import annotations

import importlib
import sys

NAMES = ("calls", "connections", "first_cell", "columns", "ledger", "classify", "decision")


def main(names: list[str]) -> None:
    for name in names or NAMES:
        importlib.import_module(f"benchmarks.{name}").main()


main(sys.argv[1:])
