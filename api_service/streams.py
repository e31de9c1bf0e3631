"""The event stream, read once for the whole process and told to those who watch a task."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Final
from uuid import UUID

import structlog

from shared.events.base import Event, Events

_PAUSE_S: Final = 1.0

log = structlog.get_logger(__name__)


class Watch:
    """One watcher of one task."""

    def __init__(self) -> None:
        self._noticed = asyncio.Event()

    async def changed(self, timeout_s: float) -> bool:
        """Whether anything happened to the task since the watch began or this was last asked; waits for it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._noticed.wait()
        happened = self._noticed.is_set()
        self._noticed.clear()
        return happened

    def notice(self) -> None:
        """Something happened to the task."""
        self._noticed.set()


class Streams:
    """Follows the event stream in the background, and lets any number of requests watch tasks.

    An event may be lost with Redis: a watcher looks for itself from time to time.
    """

    def __init__(self, events: Events) -> None:
        self._events = events
        self._watches: dict[UUID, set[Watch]] = {}
        self._following: asyncio.Task[None] | None = None
        self._last_id: str | None = None

    def __repr__(self) -> str:
        return f"<Streams tasks={len(self._watches)} last_id={self._last_id}>"

    def start(self) -> None:
        """Begin to follow."""
        self._following = asyncio.create_task(self._follow(), name="streams")

    async def close(self) -> None:
        """Stop following; those who watch notice nothing any more."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])

    @asynccontextmanager
    async def watch(self, task_id: UUID) -> AsyncIterator[Watch]:
        """Watch a task. Begin before you read it, and nothing is missed in between."""
        watch = Watch()
        self._watches.setdefault(task_id, set()).add(watch)
        try:
            yield watch
        finally:
            watches = self._watches[task_id]
            watches.remove(watch)
            if not watches:
                del self._watches[task_id]

    async def _follow(self) -> None:
        while True:
            try:
                async for events in self._events.follow(self._last_id):
                    self._tell(events)
            except Exception:
                # Without this task every waiting request would be slow, and nobody would know why.
                log.exception("following_broke")
                await asyncio.sleep(_PAUSE_S)
            else:
                return

    def _tell(self, events: Iterable[Event]) -> None:
        for event in events:
            for watch in self._watches.get(event.task_id, ()):
                watch.notice()
            self._last_id = event.id
