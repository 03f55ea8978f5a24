"""Rows of CSV and JSON Lines files, which are read in parts: a file may be larger than the memory."""

from __future__ import annotations

import csv
import itertools
import json
import os
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TextIO, cast

from llm_magic.columns.libraries import pandas
from llm_magic.columns.source import Answers, Cells, in_chunks, is_missing
from llm_magic.columns.tables import PandasRows
from llm_magic.errors import RequestError

_PART_ROWS = 256
_MAX_CELL_CHARS = 2**31 - 1


class FileRows(ABC):
    """The rows of an open text file. Raises ValueError for rows that would be misread."""

    aliases: Mapping[str, int] = {}
    is_in_memory = False
    columns: tuple[str, ...] = ()

    def __init__(self, file: TextIO, name: str) -> None:
        weakref.finalize(self, file.close)
        self._file, self._name = file, name
        self._lock = threading.Lock()
        self._version = self._stat()
        self._offsets: list[int] = []
        """The place in the file of each 256th row, as TextIO.tell gives it."""
        self.length: int | None = self._index()

    def rows(self, used: Sequence[int]) -> Iterator[Cells]:
        return in_chunks(self, used, self.length or 0)

    def cells(self, positions: Sequence[int], used: Sequence[int]) -> list[Cells]:
        return [self._cells(record, used) for record in self._read(positions)]

    def with_answers(self, answers: Answers, positions: Sequence[int] | None = None) -> Any:
        """Return a DataFrame of these rows, or of all."""
        wanted = range(self.length or 0) if positions is None else positions
        return PandasRows(self._frame(self._read(wanted))).with_answers(answers)

    @abstractmethod
    def _records(self) -> Iterator[Any]:
        """Yield the records from the current place in the file on."""

    @abstractmethod
    def _checked(self) -> Iterator[Any]:
        """Yield the records of the whole file, and set `columns`."""

    @abstractmethod
    def _cells(self, record: Any, used: Sequence[int]) -> Cells: ...

    @abstractmethod
    def _frame(self, records: list[Any]) -> Any: ...

    def _index(self) -> int:
        count = 0
        for count, _ in enumerate(self._checked(), 1):
            if count % _PART_ROWS == 0:
                self._offsets.append(self._file.tell())
        return count

    def _read(self, positions: Iterable[int]) -> list[Any]:
        records: list[Any] = []
        with self._lock:
            if self._stat() != self._version:
                raise RequestError(f"{self._name} was changed while it was read. The answers are kept: start again")
            for part, numbers in itertools.groupby(positions, lambda position: position // _PART_ROWS):
                self._file.seek(self._offsets[part])
                read = list(itertools.islice(self._records(), _PART_ROWS))
                records += [read[number % _PART_ROWS] for number in numbers]
        return records

    def _stat(self) -> tuple[int, int]:
        stat = os.fstat(self._file.fileno())
        return stat.st_size, stat.st_mtime_ns


class _Reader(Protocol):
    line_num: int

    def __iter__(self) -> Iterator[list[str]]: ...

    def __next__(self) -> list[str]: ...


class CsvRows(FileRows):
    """Cells are texts, as they are written; empty ones are missing."""

    def _records(self) -> Iterator[list[str]]:
        return (row for row in self._reader() if row)

    def _checked(self) -> Iterator[list[str]]:
        reader = self._reader()
        try:
            rows = (row for row in reader if row)
            if (header := next(rows, None)) is None:
                raise ValueError("the file is empty")
            self.columns = tuple(name or f"Unnamed: {number}" for number, name in enumerate(header))
            self._offsets.append(self._file.tell())
            for row in rows:
                if len(row) > len(header):
                    raise ValueError(f"line {reader.line_num} has {len(row)} fields, and the header has {len(header)}")
                yield row
        except csv.Error as error:
            raise ValueError(f"line {reader.line_num}: {error}") from error

    def _cells(self, record: list[str], used: Sequence[int]) -> Cells:
        return {number: (record[number] or None) if number < len(record) else None for number in used}

    def _frame(self, records: list[list[str]]) -> Any:
        pd = pandas()

        every = range(len(self.columns))
        cells = [self._cells(record, every) for record in records]
        columns = [pd.Series([row[number] for row in cells], dtype=pd.StringDtype("python")) for number in every]
        frame = pd.DataFrame(dict(enumerate(columns)))
        frame.columns = list(self.columns)
        return frame

    def _reader(self) -> _Reader:
        csv.field_size_limit(_MAX_CELL_CHARS)
        return csv.reader(iter(self._file.readline, ""), strict=True)


class JsonRows(FileRows):
    """JSON Lines. A key that a line lacks is NaN in a DataFrame, which JSON does not have."""

    def _records(self) -> Iterator[Mapping[str, Any]]:
        return (json.loads(line) for line in iter(self._file.readline, "") if not line.isspace())

    def _checked(self) -> Iterator[Mapping[str, Any]]:
        names: dict[str, None] = {}
        self._offsets.append(self._file.tell())
        for number, line in enumerate(iter(self._file.readline, ""), 1):
            if line.isspace():
                continue
            try:
                record = json.loads(line)
            except ValueError as error:
                raise ValueError(f"line {number} is not JSON: {error}") from error
            if not isinstance(record, dict):
                raise ValueError(f"line {number} is not a JSON object")
            names |= dict.fromkeys(cast("Mapping[str, Any]", record))
            yield cast("Mapping[str, Any]", record)
        if not names:
            raise ValueError("the file is empty")
        self.columns = tuple(names)

    def _cells(self, record: Mapping[str, Any], used: Sequence[int]) -> Cells:
        values = {number: record.get(self.columns[number]) for number in used}
        return {number: None if is_missing(value) else value for number, value in values.items()}

    def _frame(self, records: list[Mapping[str, Any]]) -> Any:
        return pandas().DataFrame(records, columns=list(self.columns), dtype=object)
