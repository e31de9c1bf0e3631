"""Collecting in the background what an endless iterator yields."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Generic, Self, TypeVar
from uuid import uuid4

from shared.events.base import Event, Events

PATIENCE_S = 10.0
_POLL_S = 0.01

Item = TypeVar("Item")


async def until(is_so: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Return as soon as it is so; raise TimeoutError when patience ends."""
    async with asyncio.timeout(patience_s):
        while not is_so():  # noqa: ASYNC110 - anything may be asked
            await asyncio.sleep(_POLL_S)


def event(number: int) -> Event:
    """An event that can be told from others by its number."""
    return Event("status", uuid4(), "demo.echo", "default", {"number": number})


class Listener(Generic[Item]):
    """Has `heard` everything that the iterator has yielded since the listener was entered."""

    def __init__(self, iterator: AsyncIterator[Item]) -> None:
        self.heard: list[Item] = []
        self._iterator = iterator
        self._listening: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._listening
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)

    async def ended(self) -> float:
        """Seconds until the iterator has come to its end; what it raised is raised here."""
        assert self._listening
        started = time.monotonic()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.shield(self._listening)
        return time.monotonic() - started

    async def _listen(self) -> None:
        async for item in self._iterator:
            self.heard.append(item)


class EventListener(Listener[Event]):
    """Listens to events one by one."""

    def __init__(self, events: Events, after: str | None = None) -> None:
        super().__init__(_one_by_one(events, after))

    @property
    def numbers(self) -> list[int]:
        """What `event` was given for those that were heard, in their order."""
        return [event.data["number"] for event in self.heard if event.kind == "status"]

    async def hears(self, publisher: Events) -> Self:
        """Publish greetings until one is heard: from then on nothing is missed."""
        async with asyncio.timeout(PATIENCE_S):
            while not any(event.kind == "greeting" for event in self.heard):
                await publisher.publish([Event("greeting", uuid4(), "", "", {})])
                await asyncio.sleep(_POLL_S)
        return self

    async def hears_numbers(self, numbers: list[int]) -> None:
        """Wait for so many events; they must be these."""
        await until(lambda: len(self.numbers) >= len(numbers))
        assert self.numbers == numbers


async def _one_by_one(events: Events, after: str | None) -> AsyncIterator[Event]:
    async for batch in events.follow(after):
        for single in batch:
            yield single
