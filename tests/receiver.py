"""A receiver of webhooks that answers as a test wants it to, byte by byte."""

import asyncio
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self

import orjson

from shared.domain.signing import is_signed, parse_secrets
from tests.builders import eventually

SECRET: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # the one of the specification's own examples
TAKEN: Final = b"HTTP/1.1 204 No Content\r\n\r\n"

#: Writes an answer; what it raises breaks the connection off.
Act = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Received:
    """One request, complete."""

    line: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, object]:
        """The body."""
        document: dict[str, object] = orjson.loads(self.body)
        return document

    def is_signed(self, now: float, secret: str = SECRET) -> bool:
        """Whether somebody who knows the secret has sent it, by the receiver's clock."""
        return is_signed(
            parse_secrets(secret),
            webhook_id=self.headers["webhook-id"],
            timestamp=self.headers["webhook-timestamp"],
            body=self.body,
            header=self.headers.get("webhook-signature", ""),
            now=now,
        )


def status(code: int, *headers: str) -> bytes:
    """An answer without a body."""
    return "\r\n".join([f"HTTP/1.1 {code} Whatever", *headers, "Content-Length: 0", "", ""]).encode()


class Receiver:
    """Listens on loopback. Requests are answered with what `answers` holds, then with 204.

    Attributes:
        received: Every request, in order.
        answers: Bytes to send, or something to do.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.received: list[Received] = []
        self.answers: deque[bytes | Act] = deque()
        self._tls = tls
        self._server: asyncio.Server | None = None
        self.connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for connection in self.connections:
            connection.cancel()
        await asyncio.gather(*self.connections, return_exceptions=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}/hook?shop=7"

    async def gets(self, number: int, *, within_s: float = 30) -> list[Received]:
        """The first requests, once there are so many."""

        async def are_there() -> bool:
            return len(self.received) >= number

        await eventually(are_there, within_s=within_s)
        return self.received[:number]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.connections.add(task)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            self.received.append(await _request(reader))
            answer = self.answers.popleft() if self.answers else TAKEN
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(writer)
        writer.close()
        self.connections.discard(task)


async def _request(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    return Received(head[0], headers, await reader.readexactly(int(headers["content-length"])))
