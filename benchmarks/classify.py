"""Time of a decision: the tier, the difficulty, and the expected quality of every model of the registry."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from benchmarks.table import Row, show
from llm_magic import Registry
from llm_magic.classify import classify, expected_quality
from llm_magic.lab.prompts import own_prompts

ROUNDS = 20
FIRST = """
import llm_magic, time
from llm_magic import Registry
began = time.perf_counter()
from llm_magic.classify import classify
classify("Explain how photosynthesis works to a teenager.")
print(time.perf_counter() - began)
"""


def _decide_ms(prompt: str, registry: Registry) -> float:
    began = time.perf_counter()
    classification = classify(prompt)
    for model in registry:
        expected_quality(classification, model.capability)
    return 1e3 * (time.perf_counter() - began)


def main() -> None:
    """Print milliseconds per decision, at the median and the 99th percentile of prompts.

    Each prompt's time is the best of its rounds, because other programs use the machine too.
    """
    registry = Registry.load()
    short = own_prompts().prompts
    long = [" ".join(short[start : start + 40])[:2_000] for start in range(0, len(short), 2)]
    rows: list[Row] = []
    for name, prompts in (
        ("up to 2 KB, mixed", [*short, *long]),
        ("2 KB each", long),
        ("100,000 characters", ["word, " * 16_667, "x" * 100_000]),
    ):
        for prompt in prompts:  # fill the cache of word hashes, as in a running session
            classify(prompt)
        times_ms = [min(_decide_ms(prompt, registry) for _ in range(ROUNDS)) for prompt in prompts]
        cuts = statistics.quantiles(times_ms, n=100)
        rows.append((name, f"{cuts[49]:.2f}", f"{cuts[98]:.2f}", f"{1e3 / statistics.fmean(times_ms):,.0f}"))
    show("A decision", ("prompts", "p50, ms", "p99, ms", "per second"), rows)
    first_s = [float(subprocess.check_output([sys.executable, "-c", FIRST], text=True)) for _ in range(5)]
    first = f"{1e3 * min(first_s):.0f}"
    show("The first decision after the import, including loading the weights", ("", "ms"), [("best of 5", first)])
