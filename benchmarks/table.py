"""Aligned text tables."""

from __future__ import annotations

from collections.abc import Sequence

Row = tuple[str, ...]


def show(title: str, header: Row, rows: Sequence[Row]) -> None:
    """Print a table with the first column left-aligned and the others right-aligned."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    print(f"\n{title}")
    for row in (header, *rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        print("  " + "  ".join(cells))
