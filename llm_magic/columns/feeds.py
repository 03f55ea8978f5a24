"""Rows to ask, taken as they are there: of a table at once, of a stream when its iterable has yielded them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Protocol

from llm_magic.columns.rows import Item
from llm_magic.columns.source import Cells, StreamRows


class Feed(Protocol):
    """error: raised by the iterable, after its last row."""

    @property
    def error(self) -> BaseException | None: ...

    @property
    def is_ended(self) -> bool: ...

    def take(self, count: int) -> list[Item]:
        """Return up to this many rows that are there."""
        ...

    async def wait(self) -> None:
        """Wait until a row is there, or for the end."""
        ...


class ListFeed:
    def __init__(self, items: Iterator[Item]) -> None:
        self._items = items
        self.is_ended = False
        self.error: BaseException | None = None

    def take(self, count: int) -> list[Item]:
        items = list(itertools.islice(self._items, count))
        self.is_ended = len(items) < count
        return items

    async def wait(self) -> None:
        return


class StreamFeed:
    """item_of: returns the row at a position."""

    def __init__(self, rows: StreamRows, used: tuple[int, ...], item_of: Callable[[int, Cells], Item]) -> None:
        self._rows = rows
        self._used = used
        self._item_of = item_of
        self._count = 0

    @property
    def is_ended(self) -> bool:
        return self._rows.reader.is_ended

    @property
    def error(self) -> BaseException | None:
        return self._rows.reader.error

    def take(self, count: int) -> list[Item]:
        rows = self._rows.take(count, self._used)
        items = [self._item_of(self._count + number, cells) for number, cells in enumerate(rows)]
        self._count += len(rows)
        return items

    async def wait(self) -> None:
        await self._rows.reader.wait()
