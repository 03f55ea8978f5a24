"""Memory of a process that runs a column, beyond that of its answers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHARS = 300
FIXED_BYTES = 5_000_000
"""For what does not grow with the rows: SQLite's page cache and the last 20,000 rows of this process, compressed."""
MEASURE = f"""
import gc, resource, sys
from pathlib import Path
from llm_magic import Ledger
from llm_magic.testing import Reply
from tests.support.builders import model, router, scripted

def resident_bytes():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

def reply(request):
    scripted(ours).requests.clear()
    return Reply(chunks=(request.messages[-1].content.ljust({CHARS}, "x"),))

ours = router(model("only"), replies=reply, ledger=Ledger(Path(sys.argv[1])))
ours.map_sync("Topic? {{{{value}}}}", over=[f"first {{number}}" for number in range(1_000)])
"""
TABLE = """
rows = [f"review number {number}" for number in range(int(sys.argv[2]))]
before = resident_bytes()
done = ours.map_sync("Topic? {{value}}", over=rows)
print(resident_bytes() - before)
assert done.report().is_whole
"""
STREAM = """
seen = []
def rows(count):
    for number in range(count):
        if number in (count // 3, count - 1):
            seen.append(resident_bytes())
        yield f"review number {number}"

done = ours.map_sync("Topic? {{value}}", over=rows(int(sys.argv[2])))
print(seen[1] - seen[0])
assert done.progress.answered == int(sys.argv[2])
"""
FILE = """
from llm_magic import use_router
from llm_magic.__main__ import main
use_router(ours)
count, path, seen = int(sys.argv[2]), Path(sys.argv[1]).with_name("in.csv"), []
with path.open("w") as file:
    file.write("text\\n")
    file.writelines(f"review number {number} {'x' * 300}\\n" for number in range(count))

def sampled(request):
    scripted(ours).requests.clear()
    if (number := next(numbers)) % 1_000 == 0:
        seen.append(resident_bytes())
    return Reply(chunks=("x" * 300,))

import itertools
numbers, scripted(ours).reply = itertools.count(), sampled
command = ["map", str(path), "--text", "Topic? {{text}}", "--out", str(path.with_name("out.csv"))]
sys.stdout, out = sys.stderr, sys.stdout
assert main(command) == 0
print(max(*seen, resident_bytes()) - seen[0], file=out)
"""
PARQUET = """
import os
import pandas as pd, pyarrow as pa, pyarrow.parquet as pq
from llm_magic.columns import files

count, path, part_rows, seen = int(sys.argv[2]), Path(sys.argv[1]).with_name("in.parquet"), 1_000, []
with pq.ParquetWriter(path, pa.schema([("text", pa.string())]), use_dictionary=False) as file:
    texts = [f"review number {number} {os.urandom(150).hex()}" for number in range(count)]
    file.write_table(pa.table({"text": texts}), row_group_size=count)
del texts
pa.default_memory_pool().release_unused()
before = resident_bytes()
rows = files.read(path)
assert sum(len(cells) for cells in rows.rows((0,))) == count

def parts():
    for start in range(0, count, part_rows):
        answers = pd.Series(["x" * 300] * part_rows, dtype=pd.StringDtype("python"))
        yield rows.with_answers({"topic": answers}, range(start, start + part_rows))
        if start % 20_000 == 0:
            seen.append(resident_bytes())

files.write(parts, path.with_name("out.parquet"))
print(max(*seen, resident_bytes()) - before)
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the resident memory from /proc"),
]


def grown_bytes(script: str, ledger: Path, rows: int) -> int:
    command = [sys.executable, "-c", MEASURE + script, str(ledger), str(rows)]
    run = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    return int(run.stdout)


def test_a_table_takes_less_than_twice_the_memory_of_its_answers(tmp_path: Path) -> None:
    rows = 20_000
    assert grown_bytes(TABLE, tmp_path / "ledger.db", rows) < 2 * rows * CHARS + FIXED_BYTES


def test_a_stream_takes_the_same_memory_for_any_number_of_rows(tmp_path: Path) -> None:
    rows = 36_000
    answers_bytes = (rows - rows // 3) * CHARS
    assert answers_bytes > FIXED_BYTES, "a stream that kept its answers would fail"
    assert grown_bytes(STREAM, tmp_path / "ledger.db", rows) < FIXED_BYTES


def test_the_rows_of_a_file_and_their_answers_take_less_memory_than_their_answers_alone(tmp_path: Path) -> None:
    rows = 20_000
    assert grown_bytes(FILE, tmp_path / "ledger.db", rows) < rows * CHARS + FIXED_BYTES


def test_a_parquet_file_is_read_and_written_in_less_memory_than_its_texts(tmp_path: Path) -> None:
    rows = 100_000
    assert grown_bytes(PARQUET, tmp_path / "ledger.db", rows) < rows * CHARS + FIXED_BYTES
