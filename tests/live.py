"""Clients of live news, and an API that serves them from the process of the test."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI

from api_service.server import Server

PATIENCE_S = 30.0


class _QuietServer(Server):
    """Leaves the signals of the test process alone."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[str]:
    """The address of the application, served on a free port until the end of the block."""
    server = _QuietServer(app, host="127.0.0.1", port=0)
    running = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not server.started:
                assert not running.done(), "the server has ended"
                await asyncio.sleep(0.01)
        yield server.address
    finally:
        server.should_exit = True
        await running


def problem_in(answer: bytes, status: int) -> dict[str, object]:
    """The problem in an answer as it came over the wire, which must have that status."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer
    assert b"content-type: application/problem+json" in head
    assert b"x-request-id: " in head
    problem: dict[str, object] = json.loads(body)
    return problem


@dataclass(frozen=True)
class Heard:
    """One message as a client heard it. Comments have the event `:`, and a bare id the event ``."""

    event: str
    id: str
    data: Any

    @property
    def status(self) -> str:
        return str(self.data["status"])


class Listening:
    """A client of one event stream."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self._lines = answer.aiter_lines()

    async def next(self, *, comments: bool = False) -> Heard | None:
        """The next message; None at the end of the stream."""
        async with asyncio.timeout(PATIENCE_S):
            while fields := await self._block():
                heard = _heard(fields)
                if heard.event not in (":", "retry", "") or comments:
                    return heard
        return None

    async def until(self, event: str, **data: Any) -> Heard:
        """The first message of this kind with these data."""
        while heard := await self.next():
            if heard.event == event and data.items() <= heard.data.items():
                return heard
        raise AssertionError(f"the stream ended before {event} {data}")

    async def rest(self) -> list[Heard]:
        """All messages until the stream ends."""
        heard = []
        while (message := await self.next()) is not None:
            heard.append(message)
        return heard

    async def _block(self) -> list[tuple[str, str]]:
        fields: list[tuple[str, str]] = []
        async for line in self._lines:
            if not line:
                return fields
            name, _, value = line.partition(":")
            fields.append((name or ":", value.removeprefix(" ")))
        return fields


def _heard(fields: list[tuple[str, str]]) -> Heard:
    found = dict(fields)
    if data := found.get("data"):
        return Heard(found["event"], found.get("id", ""), json.loads(data))
    return Heard(next((name for name in (":", "retry") if name in found), ""), found.get("id", ""), found)


@asynccontextmanager
async def listening(url: str, *, after: str | None = None) -> AsyncIterator[Listening]:
    """A client that has the head of the answer."""
    headers = {} if after is None else {"Last-Event-ID": after}
    async with (
        httpx.AsyncClient(timeout=PATIENCE_S, trust_env=False) as client,
        client.stream("GET", url, headers=headers) as answer,
    ):
        yield Listening(answer)
