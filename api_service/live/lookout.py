"""Looks into PostgreSQL for what open streams were not told: events may be lost with Redis."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from api_service.live.feed import Feed
from api_service.live.message import Told
from api_service.streams import Streams
from shared.errors import DatabaseUnavailableError
from shared.store.tasks import Tasks

log = structlog.get_logger(__name__)

#: Seconds between two looks. What was lost is told at the second look after it: an event may be on its way.
_LOOK_S: Final = 0.8


class Lookout:
    """Compares what streams were told of their tasks with what is so: one query for all of them, while there are any.

    Args:
        streams: The streams that are open.
        tasks: What is so.
    """

    def __init__(self, streams: Streams, tasks: Tasks) -> None:
        self._streams = streams
        self._tasks = tasks
        self._looking: asyncio.Task[None] | None = None
        self._served = 0
        self._is_blind = False

    @contextmanager
    def on_duty(self) -> Iterator[None]:
        """Look out for the streams that are open, at least until the end of the block."""
        self._served += 1
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_on(), name="lookout")
        try:
            yield
        finally:
            self._served -= 1
            if not self._served:
                self._looking.cancel()
                self._looking = None

    async def look(self) -> int:
        """Look once. Returns how many tasks there was news of."""
        feeds = self._streams.task_feeds
        versions = await self._tasks.versions(list(feeds))
        late = [task_id for task_id, version in versions.items() if _lags(feeds.get(task_id, ()), version)]
        for task in await self._tasks.many(late) if late else ():
            self._streams.tell(Told.of(task))
        return len(late)

    async def _look_on(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            try:
                await self.look()
            except DatabaseUnavailableError as error:
                if not self._is_blind:
                    log.warning("streams_not_looked_after", reason=str(error))
                self._is_blind = True
            except Exception:
                log.exception("lookout_failed")
            else:
                self._is_blind = False


def _lags(feeds: Iterable[Feed], version: int) -> bool:
    # Each is asked: the answers are about the time since the last look.
    return True in [feed.lags(version) for feed in feeds]
