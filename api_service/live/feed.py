"""What open streams have yet to be told."""

import asyncio
from collections import deque
from contextlib import suppress

from api_service.live.message import Told


class Feed:
    """The events that one open stream has yet to send. Bounded: a client that reads too slowly falls behind.

    Args:
        limit: How many events may wait. One more, and all are dropped: `is_behind` says that the stream must see for
            itself what it has missed.
        queue: The only queue whose events are taken; None takes all.
        type_: The same for the type of task.
    """

    def __init__(self, limit: int, *, queue: str | None = None, type_: str | None = None) -> None:
        self.known_version = 0
        self.is_behind = False
        self.is_closed = False
        self._limit = limit
        self._queue = queue
        self._type = type_
        self._waiting: deque[Told] = deque()
        self._noticed = asyncio.Event()
        self._version_looked_up = 0

    def wants(self, told: Told) -> bool:
        """Whether the stream is about this event."""
        return self._queue in (None, told.event.queue) and self._type in (None, told.event.type)

    def notice(self, told: Told) -> None:
        """Take an event."""
        if self.is_behind or not self.wants(told):
            return
        if told.version is not None:
            self.known_version = max(self.known_version, told.version)
        if len(self._waiting) < self._limit:
            self._waiting.append(told)
        else:
            self._waiting.clear()
            self.is_behind = True
        self._noticed.set()

    def lags(self, version: int) -> bool:
        """Whether its task had moved on when this was last asked, and it has not been told until now.

        An event that is on its way is given the time between two questions.
        """
        lagged = self._version_looked_up > self.known_version
        self._version_looked_up = version
        return lagged

    def renew(self) -> None:
        """Begin anew: from now on nothing is missed."""
        self._waiting.clear()
        self.is_behind = False

    def close(self) -> None:
        """End the stream: the process stops."""
        self.is_closed = True
        self._noticed.set()

    async def take(self, timeout_s: float) -> list[Told]:
        """All that waits; waits itself for something to do so. Nothing after the timeout, and when it ends."""
        if not self._noticed.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._noticed.wait()
        self._noticed.clear()
        taken = list(self._waiting)
        self._waiting.clear()
        return taken
