"""Files of rows: CSV, Parquet, and JSON Lines, read and written without changing a cell."""

from __future__ import annotations

import csv
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO, cast

from llm_magic.columns.libraries import arrow, pandas
from llm_magic.columns.source import is_missing
from llm_magic.errors import RequestError

STANDARD = Path("-")
"""Standard input or output, as JSON Lines."""
_SUFFIXES = (".csv", ".parquet", ".jsonl")


def check_name(path: Path) -> str:
    """Return the format of a file by its suffix. Raises RequestError for another one."""
    suffix = ".jsonl" if path == STANDARD else path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise RequestError(f"{path}: the name must end in {', '.join(_SUFFIXES)}, or be - for JSON Lines")
    return suffix


def read(path: Path) -> Any:
    """Read a file: Parquet as an Arrow table, the others as a DataFrame.

    Cells of a CSV file are texts, as they are written; empty ones are missing.
    """
    suffix = check_name(path)
    try:
        if path == STANDARD:
            return _read_lines(sys.stdin)
        path.open("rb").close()  # the errors of Arrow repeat the path and the error number
        if suffix == ".parquet":
            return arrow("pyarrow.parquet").read_table(path)
        with path.open(encoding="utf-8-sig", newline="" if suffix == ".csv" else None) as lines:
            return _read_csv(lines) if suffix == ".csv" else _read_lines(lines)
    except UnicodeDecodeError as error:
        hint = f"Convert it, for example with iconv -f WINDOWS-1252 -t UTF-8 {path.name} > utf-8{suffix}"
        raise RequestError(
            f"{path} can't be read: byte {error.object[error.start]:#04x} is not UTF-8. {hint}"
        ) from error
    except (OSError, ValueError, csv.Error) as error:
        raise RequestError(f"{path} can't be read: {_reason(error)}") from error


def write(frame: Any, path: Path) -> None:
    """Write a DataFrame or an Arrow table. The file is replaced when all of it is written."""
    suffix = check_name(path)
    if path == STANDARD:
        _write_lines(frame, sys.stdout)
        return
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        temporary.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask())
        _WRITERS[suffix](frame, temporary)
        temporary.replace(path)
    except OSError as error:
        raise RequestError(
            f"{path} can't be written: {_reason(error)}. The answers are kept: repeat the command"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    """Return the message of an error without an error number and the path."""
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _read_csv(lines: TextIO) -> Any:
    pd = pandas()
    try:
        # With a header, pandas would take the first cell of rows that are too long as their index.
        table = pd.read_csv(lines, header=None, dtype=str, keep_default_na=False, na_values=[""])
    except pd.errors.EmptyDataError as error:
        raise ValueError("the file is empty") from error
    except pd.errors.ParserError as error:
        lines.seek(0)
        raise ValueError(_long_line(lines) or str(error).strip()) from error
    names = table.iloc[0].tolist()
    frame = table.iloc[1:].reset_index(drop=True)
    frame.columns = [f"Unnamed: {number}" if is_missing(name) else name for number, name in enumerate(names)]
    return frame


def _long_line(lines: TextIO) -> str:
    """Describe the first row of a CSV file that has more fields than its header. Empty if none has."""
    reader = csv.reader(lines)
    width = 0
    for row in reader:
        width = width or len(row)
        if len(row) > width:
            return f"line {reader.line_num} has {len(row)} fields, and the header has {width}"
    return ""


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _read_lines(lines: TextIO) -> Any:
    """Read JSON Lines. A key that a line lacks is NaN, which JSON does not have."""
    records: list[Mapping[str, Any]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise ValueError(f"line {number} is not JSON: {error}") from error
        if not isinstance(record, dict):
            raise ValueError(f"line {number} is not a JSON object")
        records.append(cast("Mapping[str, Any]", record))
    if not records:
        raise ValueError("the file is empty")
    return pandas().DataFrame(records, dtype=object)


def _write_lines(table: Any, out: TextIO) -> None:
    for record in table.to_pylist() if _is_arrow(table) else _records(table):
        out.write(json.dumps(record, ensure_ascii=False, default=_plain) + "\n")


def _records(frame: Any) -> Iterator[dict[str, Any]]:
    names = [str(name) for name in frame.columns]
    kept = [frame.iloc[:, number].dtype == object for number in range(len(names))]
    for row in frame.itertuples(index=False, name=None):
        cells = zip(names, row, kept, strict=True)
        yield {
            name: None if is_missing(cell) else cell
            for name, cell, is_object in cells
            if not (is_object and isinstance(cell, float) and cell != cell)
        }


def _plain(cell: object) -> object:
    convert = getattr(cell, "tolist", None)
    return str(cell) if convert is None else convert()


def _write_json_lines(table: Any, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as out:
        _write_lines(table, out)


def _write_csv(table: Any, path: Path) -> None:
    frame = table.to_pandas(types_mapper=pandas().ArrowDtype) if _is_arrow(table) else table
    frame.to_csv(path, index=False)


def _write_parquet(table: Any, path: Path) -> None:
    pa = arrow()
    if not _is_arrow(table):
        table = pa.table({str(name): _arrow_array(pa, cells) for name, cells in table.items()})
    arrow("pyarrow.parquet").write_table(table, path)


def _arrow_array(pa: Any, cells: Any) -> Any:
    """Return cells as an Arrow array: as JSON if they have no type in common."""
    if cells.dtype != object:
        return pa.Array.from_pandas(cells)
    values = [None if is_missing(cell) else cell for cell in cells.tolist()]
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError):
        return pa.array([None if cell is None else json.dumps(cell, default=_plain) for cell in values], pa.string())


def _is_arrow(table: Any) -> bool:
    return hasattr(table, "to_pylist")


_WRITERS: dict[str, Callable[[Any, Path], None]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".jsonl": _write_json_lines,
}
