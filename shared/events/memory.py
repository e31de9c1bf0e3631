"""The event stream of a Taskmill that runs in one process."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Final, Generic, TypeVar
from uuid import UUID

from shared.events.base import Batch, Event, mark
from shared.events.position import Position

_EVENTS_PER_READ: Final = 1000
_KEPT_CANCELS: Final = 1000

Item = TypeVar("Item")


class MemoryEvents:
    """Keeps the last events in memory. Ids are greater than those of any earlier process on this machine.

    Args:
        max_events: At least so many of the newest are kept, at most twice as many.
    """

    def __init__(self, max_events: int = 20_000) -> None:
        self._started_ms = time.time_ns() // 1_000_000
        self._events: _Ring[Event] = _Ring(max_events)
        self._cancels: _Ring[UUID] = _Ring(_KEPT_CANCELS)

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Iterators end."""
        self._events.close()
        self._cancels.close()

    async def publish(self, events: Sequence[Event]) -> None:
        """Append events. Old ones fall off the end."""
        first = self._events.end
        self._events.append(
            [event._replace(id=str(Position(self._started_ms, first + i + 1, 0))) for i, event in enumerate(events)]
        )

    def follow(self, after: str | None = None) -> AsyncIterator[Batch]:
        """Events as they come, in batches, from now or from just after the id `after`.

        An `after` that has fallen off the end means the oldest that are there; one that the stream has not
        reached means those that come.

        Raises:
            ValueError: `after` is not an id.
        """
        return self._follow(self._events.end if after is None else self._number_after(after))

    async def end(self) -> str:
        """The id of the newest event; the first is made where there is none."""
        if not self._events.end:
            await self.publish([mark()])
        return str(Position(self._started_ms, self._events.end, 0))

    def replay(self, start: str) -> AsyncIterator[Sequence[Event]]:
        """The events that are there now, in batches, from the id `start` on, itself included.

        Raises:
            ValueError: `start` is not an id.
        """
        beyond = Position.parse(start) > Position(self._started_ms, self._events.end, 0)
        first = self._events.end if beyond else max(0, self._number_after(start) - 1)
        return self._events.read(first, until=self._events.end)

    async def signal_cancel(self, task_ids: Sequence[UUID]) -> None:
        """Tell the worker at once that the end of running tasks was asked for."""
        self._cancels.append(task_ids)

    async def cancel_signals(self) -> AsyncIterator[UUID]:
        """Ids of running tasks whose end was asked for, as signals come."""
        async for task_ids in self._cancels.read(self._cancels.end):
            for task_id in task_ids:
                yield task_id

    async def _follow(self, start: int) -> AsyncIterator[Batch]:
        async for events in self._events.read(start):
            yield Batch(events[-1].id, partial(list, events))

    def _number_after(self, event_id: str) -> int:
        position = Position.parse(event_id)
        if position.time_ms < self._started_ms:
            return 0
        if position.time_ms > self._started_ms:
            return self._events.end
        return min(position.number, self._events.end)


class _Ring(Generic[Item]):
    """A growing row of items whose beginning is forgotten. Items are numbered from 0 on."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._items: list[Item] = []
        self._forgotten = 0
        self._closed = False
        self._news = asyncio.Event()

    @property
    def end(self) -> int:
        """The number that the next item will have."""
        return self._forgotten + len(self._items)

    def append(self, items: Sequence[Item]) -> None:
        """Add items and wake who waits for them."""
        self._items += items
        if len(self._items) > 2 * self._kept:
            excess = len(self._items) - self._kept
            del self._items[:excess]
            self._forgotten += excess
        self._wake()

    def close(self) -> None:
        """End all reads."""
        self._closed = True
        self._wake()

    async def read(self, start: int, until: int | None = None) -> AsyncIterator[Sequence[Item]]:
        """The items from number `start` on, or from the oldest left on, as they come, or until number `until`."""
        while not self._closed and (until is None or start < until):
            if start == self.end:
                await self._news.wait()
                continue
            first = max(start - self._forgotten, 0)
            batch = self._items[first : first + _EVENTS_PER_READ]
            start = self._forgotten + first + len(batch)
            yield batch

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()
