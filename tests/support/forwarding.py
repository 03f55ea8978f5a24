"""A TCP forwarder in front of a server: counts connections, delays what passes, and speaks TLS if told to."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit


class Forwarder:
    """Each byte takes `delay_s` in either direction. `connections` counts those that were accepted."""

    def __init__(self, target_url: str, *, delay_s: float = 0.0, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(target_url)
        self._host, self._port = parts.hostname, parts.port
        self._delay_s = delay_s
        self._tls = tls
        self.scheme = parts.scheme if tls is None else "https"
        self.connections = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writers = [writer]
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection(self._host, self._port)
            writers.append(upstream_writer)
            await asyncio.gather(self._pump(reader, upstream_writer), self._pump(upstream_reader, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for opened in writers:
                opened.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while data := await reader.read(65_536):
            loop.call_later(self._delay_s, writer.write, data)
        loop.call_later(self._delay_s, writer.close)

    async def serve(self, started: threading.Event, stop: asyncio.Event) -> None:
        async with await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls) as server:
            self.port = server.sockets[0].getsockname()[1]
            started.set()
            await stop.wait()
            accepted = asyncio.all_tasks() - {asyncio.current_task()}
            for task in accepted:
                task.cancel()
            await asyncio.gather(*accepted, return_exceptions=True)
            await asyncio.sleep(2 * self._delay_s + 0.01)


@contextmanager
def forwarding(target_url: str, *, delay_s: float = 0.0, tls: ssl.SSLContext | None = None) -> Iterator[Forwarder]:
    """Run a forwarder in its own thread."""
    forwarder = Forwarder(target_url, delay_s=delay_s, tls=tls)
    loop, started, stop = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    def run() -> None:
        try:
            loop.run_until_complete(forwarder.serve(started, stop))
        finally:
            loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield forwarder
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
