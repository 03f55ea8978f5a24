"""Rows of a Parquet file, which are read in parts: a file may be larger than the memory."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from llm_magic.columns.libraries import arrow
from llm_magic.columns.source import Answers, Cells, check_names, in_chunks, row_cells
from llm_magic.columns.tables import arrow_rows
from llm_magic.errors import RequestError

_BATCH_ROWS = 1_000
_BUFFER_BYTES = 2**16


class ParquetRows:
    is_in_memory = False
    aliases: Mapping[str, int] = {}

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._file = arrow("pyarrow.parquet").ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        self._version = self._stat()
        self.columns: tuple[str, ...] = tuple(self._file.schema_arrow.names)
        self.length: int | None = self._file.metadata.num_rows
        self._cursors: dict[tuple[int, ...], _Cursor] = {}
        check_names(self.columns)

    def rows(self, used: Sequence[int]) -> Iterator[Cells]:
        return in_chunks(self, used, self.length or 0)

    def cells(self, positions: Sequence[int], used: Sequence[int]) -> list[Cells]:
        table = self._read(positions, tuple(used))
        return row_cells([column.to_pylist() for column in table.columns], used, len(positions))

    def with_answers(self, answers: Answers, positions: Sequence[int] | None = None) -> Any:
        """Return an Arrow table of these rows, or of all."""
        wanted = range(self.length or 0) if positions is None else positions
        return arrow_rows(self._read(wanted, tuple(range(len(self.columns)))), {}).with_answers(answers)

    def _read(self, positions: Sequence[int], used: tuple[int, ...]) -> Any:
        with self._lock:
            if self._stat() != self._version:
                raise RequestError(f"{self._path} was changed while it was read. The answers are kept: start again")
            cursor = self._cursors.setdefault(used, _Cursor(self._file, used))
            try:
                return cursor.take(positions)
            except (OSError, arrow().ArrowException) as error:
                raise RequestError(f"{self._path} can't be read: {error}") from error

    def _stat(self) -> tuple[int, int]:
        stat = self._path.stat()
        return stat.st_size, stat.st_mtime_ns


class _Cursor:
    """The place in a file up to which some of its columns were read. Reading on is cheap, going back is not."""

    def __init__(self, file: Any, used: tuple[int, ...]) -> None:
        self._file = file
        names = file.schema_arrow.names
        self._used = used
        is_by_name = len(set(names)) == len(names) and not any("." in name for name in names)
        self._columns = [names[number] for number in used] if is_by_name else None
        counts = (file.metadata.row_group(number).num_rows for number in range(file.num_row_groups))
        self._starts: list[int] = list(accumulate(counts, initial=0))
        self._group: int | None = None
        self._batches: Iterator[Any] = iter(())
        self._batch: Any = None
        self._first = self._end = 0

    def take(self, positions: Sequence[int]) -> Any:
        """Return a table of the rows at these positions."""
        pa = arrow()
        parts: list[Any] = []
        rows: list[int] = []
        for position in positions:
            if not self._first <= position < self._end:
                if rows:
                    parts.append(self._batch.take(pa.array(rows, "int64")))
                rows = []
                self._read_to(position)
            rows.append(position - self._first)
        if rows:
            parts.append(self._batch.take(pa.array(rows, "int64")))
        schema = self._file.schema_arrow
        chosen = pa.schema([schema.field(number) for number in self._used], schema.metadata)
        return pa.Table.from_batches(parts, chosen)

    def _read_to(self, position: int) -> None:
        group = bisect_right(self._starts, position) - 1
        if group != self._group or position < self._first:
            self._batches = self._file.iter_batches(
                _BATCH_ROWS, row_groups=[group], columns=self._columns, use_threads=False
            )
            self._group, self._end = group, self._starts[group]
        arrow().default_memory_pool().release_unused()
        while position >= self._end:
            batch = next(self._batches)
            self._batch = batch if self._columns is not None else batch.select(list(self._used))
            self._first, self._end = self._end, self._end + len(batch)
