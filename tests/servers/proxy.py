"""A line between one client and a server that can be cut without touching the server."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final, Self
from urllib.parse import urlsplit

from tests.servers.sandbox import LOOPBACK, free_port

_CHUNK_BYTES: Final = 65536
_DEFAULT_PORTS: Final = {"amqp": 5672, "http": 80, "postgresql": 5432, "redis": 6379}


class Proxy:
    """Passes TCP connections on to a server, until told otherwise.

    Use it as an async context manager, in the loop in which it shall work, and give
    the client `url` instead of the server's own address.

    Args:
        url: The address of the server.

    Attributes:
        url: The same address by way of the proxy.
    """

    def __init__(self, url: str) -> None:
        target = urlsplit(url)
        self._host = target.hostname or LOOPBACK
        self._server_port = target.port or _DEFAULT_PORTS[target.scheme]
        self._port = free_port()
        user, at, _ = target.netloc.rpartition("@")
        self.url = target._replace(netloc=f"{user}{at}{LOOPBACK}:{self._port}").geturl()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._answering = asyncio.Event()
        self._answering.set()
        self._listener: asyncio.Server | None = None
        self._lines: set[asyncio.Task[None]] = set()

    # What a test does to the line ...

    async def cut(self) -> None:
        """Break all connections and refuse new ones."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for line in self._lines:
            line.cancel()
        await asyncio.gather(*self._lines, return_exceptions=True)

    def hang(self) -> None:
        """Keep connections open and accept new ones, but pass nothing on."""
        self._flowing.clear()

    def mute(self) -> None:
        """Pass on what the client sends, but nothing of what the server answers."""
        self._answering.clear()

    async def heal(self) -> None:
        """Work again; what was held back while it hung is passed on."""
        self._flowing.set()
        self._answering.set()
        if self._listener is None:
            self._listener = await asyncio.start_server(self._accept, LOOPBACK, self._port)

    async def __aenter__(self) -> Self:
        await self.heal()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut()

    # How the line works ...

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = asyncio.create_task(self._connect(reader, writer))
        self._lines.add(line)
        line.add_done_callback(self._lines.discard)
        # Not in the task, which may be cut before its first step.
        line.add_done_callback(lambda _: writer.close())

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._flowing.wait()
        with suppress(OSError):  # a server that is gone: the client sees its connection end
            from_server, to_server = await asyncio.open_connection(self._host, self._server_port)
            try:
                async with asyncio.TaskGroup() as both_ways:
                    both_ways.create_task(self._pass_on(reader, to_server, self._flowing))
                    both_ways.create_task(self._pass_on(from_server, writer, self._flowing, self._answering))
            finally:
                to_server.close()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *open_: asyncio.Event
    ) -> None:
        try:
            with suppress(OSError):
                while chunk := await reader.read(_CHUNK_BYTES):
                    for event in open_:
                        await event.wait()
                    writer.write(chunk)
                    await writer.drain()
        finally:
            writer.close()  # so the other way ends too
