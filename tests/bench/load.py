"""Clients that ask over HTTP/1.1 as fast as they are answered, cheap enough not to be what is measured."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, cast
from urllib.parse import urlsplit

#: Bytes of one request.
Request = bytes
_END_OF_HEAD: Final = b"\r\n\r\n"
#: What an ordinary client sends along with each request.
_COMMON: Final = "Host: localhost\r\nUser-Agent: taskmill-bench\r\nAccept: */*\r\nAccept-Encoding: gzip"
_LENGTH: Final = b"content-length:"


@dataclass(slots=True)
class Answers:
    """What came back. Seconds; `bad` counts answers of a status that was not hoped for, `first_bad` is one."""

    took_s: float = 0.0
    each_s: list[float] = field(default_factory=list)
    bad: int = 0
    first_bad: str = ""
    bodies: list[bytes] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.each_s) / self.took_s


def post(path: str, body: Any, *, key: str | None = None) -> Request:
    """A POST with a JSON body, and with an Idempotency-Key where one is given."""
    content = json.dumps(body, separators=(",", ":")).encode()
    about_body = f"Content-Type: application/json\r\nContent-Length: {len(content)}"
    if key is not None:
        about_body += f"\r\nIdempotency-Key: {key}"
    return f"POST {path} HTTP/1.1\r\n{_COMMON}\r\n{about_body}".encode() + _END_OF_HEAD + content


def get(path: str) -> Request:
    """A GET."""
    return _bare("GET", path)


def delete(path: str) -> Request:
    """A DELETE."""
    return _bare("DELETE", path)


async def ask(
    url: str, requests: Iterator[Request], *, number: int, connections: int, keep_bodies: bool = False
) -> Answers:
    """Send `number` requests over so many connections, each the next as soon as it is answered."""
    answers = Answers()
    work = islice(requests, number)
    host, port = _place(url)
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    clients = [
        (await loop.create_connection(lambda: _Client(work, answers, keep_bodies), host, port))[1]
        for _ in range(connections)
    ]
    await asyncio.gather(*(client.done for client in clients))
    answers.took_s = time.perf_counter() - began
    return answers


async def ask_once(url: str, request: Request) -> bytes:
    """The body of one answer."""
    answers = await ask(url, iter([request]), number=1, connections=1, keep_bodies=True)
    return answers.bodies[0]


class Line:
    """One connection that asks one thing after another."""

    def __init__(self, url: str) -> None:
        self._host, self._port = _place(url)
        self._client: _Client | None = None
        self._answers = Answers()

    async def ask(self, request: Request) -> Any:
        """The JSON of the answer, of a refusal too.

        Raises:
            OSError: There was no answer. The next time it connects anew.
        """
        if self._client is None or self._client.lost:
            loop = asyncio.get_running_loop()
            make: Callable[[], _Client] = lambda: _Client(iter(()), self._answers, True)  # noqa: E731
            _, self._client = await loop.create_connection(make, self._host, self._port)
        self._answers.bodies.clear()
        self._answers.first_bad = ""
        await self._client.ask_next(request)
        return json.loads(self._answers.bodies[0])

    @property
    def refusal(self) -> str:
        """Status and body of the last answer, if it was none of those that are hoped for."""
        return self._answers.first_bad

    def close(self) -> None:
        """Hang up."""
        if self._client is not None:
            self._client.close()


class _Client(asyncio.Protocol):
    def __init__(self, work: Iterator[Request], answers: Answers, keep_bodies: bool) -> None:
        self._work = work
        self._answers = answers
        self._keep_bodies = keep_bodies
        self._buffer = b""
        self._sent_at = 0.0
        self._transport: asyncio.Transport | None = None
        self.lost = False
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class is none
        self._send_next()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server hung up"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(_END_OF_HEAD)
        if not found or len(rest) < (length := _length(head)):
            return
        self._buffer = rest[length:]
        self._answers.each_s.append(time.perf_counter() - self._sent_at)
        if head[9:10] != b"2":
            self._note_bad(head, rest[:length])
        if self._keep_bodies:
            self._answers.bodies.append(rest[:length])
        self._send_next()

    def _note_bad(self, head: bytes, body: bytes) -> None:
        self._answers.bad += 1
        self._answers.first_bad = self._answers.first_bad or f"{head[9:12].decode()} {body[:500].decode()}"

    async def ask_next(self, request: Request) -> None:
        self.done = asyncio.get_running_loop().create_future()
        self._send(request)
        await self.done

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _send_next(self) -> None:
        request = next(self._work, None)
        if request is not None:
            self._send(request)
        elif not self.done.done():
            self.done.set_result(None)

    def _send(self, request: Request) -> None:
        assert self._transport is not None
        self._sent_at = time.perf_counter()
        self._transport.write(request)


def _bare(method: str, path: str) -> Request:
    return f"{method} {path} HTTP/1.1\r\n{_COMMON}".encode() + _END_OF_HEAD


def _length(head: bytes) -> int:
    lower = head.lower()
    place = lower.find(_LENGTH)
    return 0 if place < 0 else int(lower[place + len(_LENGTH) :].split(b"\r\n", 1)[0])


def _place(url: str) -> tuple[str, int]:
    split = urlsplit(url)
    return split.hostname or "", split.port or 80
