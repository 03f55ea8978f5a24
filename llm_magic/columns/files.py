"""Files of rows: CSV, Parquet, and JSON Lines, read and written without changing a cell."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO, cast

from llm_magic.columns.filerows import CsvRows, JsonRows
from llm_magic.columns.libraries import arrow, pandas
from llm_magic.columns.source import is_missing
from llm_magic.errors import RequestError

STANDARD = Path("-")
"""Standard input or output, as JSON Lines."""
_WRITTEN_ROWS = 1_000
_SUFFIXES = (".csv", ".parquet", ".jsonl")


def check_name(path: Path) -> str:
    """Return the format of a file by its suffix. Raises RequestError for another one."""
    suffix = ".jsonl" if path == STANDARD else path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise RequestError(f"{path}: the name must end in {', '.join(_SUFFIXES)}, or be - for JSON Lines")
    return suffix


def read(path: Path) -> Any:
    """Return the rows of a file: of Parquet as an Arrow table, of the others read in parts."""
    suffix = check_name(path)
    try:
        if path == STANDARD:
            return JsonRows(_spooled(sys.stdin), "the input")
        file = path.open(encoding="utf-8-sig", newline="" if suffix == ".csv" else None)
        if suffix != ".parquet":
            return CsvRows(file, str(path)) if suffix == ".csv" else JsonRows(file, str(path))
        file.close()  # opened for its errors: those of Arrow repeat the path and the error number
        return arrow("pyarrow.parquet").read_table(path)
    except UnicodeDecodeError as error:
        hint = f"Convert it, for example with iconv -f WINDOWS-1252 -t UTF-8 {path.name} > utf-8{suffix}"
        raise RequestError(
            f"{path} can't be read: byte {error.object[error.start]:#04x} is not UTF-8. {hint}"
        ) from error
    except (OSError, ValueError) as error:
        raise RequestError(f"{path} can't be read: {_reason(error)}") from error


def part_rows(path: Path) -> int | None:
    """Return the number of rows that are written at once; None for a file that is written whole."""
    return None if check_name(path) == ".parquet" else _WRITTEN_ROWS


def write(parts: Iterable[Any], path: Path) -> None:
    """Write DataFrames or Arrow tables one below the other. The file is replaced when all of it is written."""
    suffix = check_name(path)
    if path == STANDARD:
        _write_lines(parts, sys.stdout)
        return
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        temporary.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask())
        _WRITERS[suffix](parts, temporary)
        temporary.replace(path)
    except OSError as error:
        raise RequestError(
            f"{path} can't be written: {_reason(error)}. The answers are kept: repeat the command"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _spooled(lines: TextIO) -> TextIO:
    file = cast("TextIO", tempfile.TemporaryFile("w+", encoding="utf-8", errors="surrogateescape"))  # noqa: SIM115
    shutil.copyfileobj(lines, file)
    file.seek(0)
    return file


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _write_lines(parts: Iterable[Any], out: TextIO) -> None:
    for table in parts:
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


def _write_json_lines(parts: Iterable[Any], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as out:
        _write_lines(parts, out)


def _write_csv(parts: Iterable[Any], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as out:
        for number, table in enumerate(parts):
            frame = table.to_pandas(types_mapper=pandas().ArrowDtype) if _is_arrow(table) else table
            frame.to_csv(out, index=False, header=number == 0)


def _write_parquet(parts: Iterable[Any], path: Path) -> None:
    pa = arrow()
    (table,) = parts
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


_WRITERS: dict[str, Callable[[Iterable[Any], Path], None]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".jsonl": _write_json_lines,
}
