"""Files of rows: CSV, Parquet, and JSON Lines, read and written without changing a cell."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO, cast

from llm_magic.columns.arrow_types import common_schema, in_schema, inferred, plain, plain_schema
from llm_magic.columns.filerows import CsvRows, JsonRows
from llm_magic.columns.libraries import arrow, pandas
from llm_magic.columns.parquetrows import ParquetRows
from llm_magic.columns.source import is_missing
from llm_magic.errors import RequestError

STANDARD = Path("-")
"""Standard input or output, as JSON Lines."""
WRITTEN_ROWS = 1_000
_ROW_GROUP_BYTES = 2**22
_SUFFIXES = (".csv", ".parquet", ".jsonl")

Parts = Callable[[], Iterator[Any]]
"""Reads the parts of a table, each time from the first one."""


def check_name(path: Path) -> str:
    """Return the format of a file by its suffix. Raises RequestError for another one."""
    suffix = ".jsonl" if path == STANDARD else path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise RequestError(f"{path}: the name must end in {', '.join(_SUFFIXES)}, or be - for JSON Lines")
    return suffix


def read(path: Path) -> Any:
    """Return the rows of a file, which are read in parts."""
    suffix = check_name(path)
    try:
        if path == STANDARD:
            return JsonRows(_spooled(sys.stdin), "the input")
        file = path.open(encoding="utf-8-sig", newline="" if suffix == ".csv" else None)
        if suffix != ".parquet":
            return CsvRows(file, str(path)) if suffix == ".csv" else JsonRows(file, str(path))
        file.close()  # opened for its errors: those of Arrow repeat the path and the error number
        return ParquetRows(path)
    except UnicodeDecodeError as error:
        encoding = "UTF-16" if error.object[:2] in (b"\xff\xfe", b"\xfe\xff") else "WINDOWS-1252"
        hint = f"Convert it, for example with iconv -f {encoding} -t UTF-8 {path.name} > utf-8{suffix}"
        raise RequestError(
            f"{path} can't be read: byte {error.object[error.start]:#04x} is not UTF-8. {hint}"
        ) from error
    except (OSError, ValueError) as error:
        raise RequestError(f"{path} can't be read: {_reason(error)}") from error


def check_out(path: Path) -> None:
    """Raise RequestError if this file can't be written."""
    check_name(path)
    if not path.parent.is_dir():
        raise RequestError(f"--out {path}: the folder {path.parent} does not exist")
    if path.is_dir():
        raise RequestError(f"--out {path} is a folder: name a file")
    if path != STANDARD and not os.access(path.parent, os.W_OK):
        raise RequestError(f"--out {path}: no file can be written in the folder {path.parent}")


def write(parts: Parts, path: Path) -> None:
    """Write DataFrames or Arrow tables one below the other. The file is replaced when all of it is written."""
    suffix = check_name(path)
    if path == STANDARD:
        _write_lines(parts(), sys.stdout)
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
            out.write(_json(record) + "\n")


def _json(record: Mapping[str, Any]) -> str:
    try:
        return json.dumps(record, ensure_ascii=False, default=plain, allow_nan=False)
    except ValueError:  # JSON has no NaN and no infinity
        return json.dumps(_finite(record), ensure_ascii=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(cell) for name, cell in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_finite(cell) for cell in cast("Sequence[Any]", value)]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, str | int | None) else _finite(plain(value))


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


def _write_json_lines(parts: Parts, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as out:
        _write_lines(parts(), out)


def _write_csv(parts: Parts, path: Path) -> None:
    types = pandas().ArrowDtype
    with path.open("w", encoding="utf-8", newline="") as out:
        for number, table in enumerate(parts()):
            frame = table.to_pandas(types_mapper=types, ignore_metadata=True) if _is_arrow(table) else table
            frame.to_csv(out, index=False, header=number == 0)


def _write_parquet(parts: Parts, path: Path) -> None:
    schema = common_schema(map(_arrow_table, parts()))
    with arrow("pyarrow.parquet").ParquetWriter(path, plain_schema(schema)) as out:
        for table in _row_groups(in_schema(map(_arrow_table, parts()), schema)):
            out.write_table(table)
            arrow().default_memory_pool().release_unused()


def _row_groups(tables: Iterable[Any]) -> Iterator[Any]:
    group: list[Any] = []
    for table in tables:
        group.append(table)
        if sum(part.nbytes for part in group) >= _ROW_GROUP_BYTES:
            yield arrow().concat_tables(group)
            group = []
    if group:
        yield arrow().concat_tables(group)


def _arrow_table(table: Any) -> Any:
    if _is_arrow(table):
        return table
    columns = [_arrow_column(name, table.iloc[:, number]) for number, name in enumerate(map(str, table.columns))]
    return arrow().table([array for _, array in columns], schema=arrow().schema([field for field, _ in columns]))


def _arrow_column(name: str, cells: Any) -> tuple[Any, Any]:
    if cells.dtype == object:
        return inferred(name, [None if is_missing(cell) else cell for cell in cells.tolist()])
    array = arrow().Array.from_pandas(cells)
    return arrow().field(name, array.type), array


def _is_arrow(table: Any) -> bool:
    return hasattr(table, "to_pylist")


_WRITERS: dict[str, Callable[[Parts, Path], None]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".jsonl": _write_json_lines,
}
