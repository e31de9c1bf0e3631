"""Purging a queue over the API: in chunks, each told of as it is done."""

import asyncio
from typing import Final

from api_service.services import Services

#: Tasks cancelled by one statement. They are all in memory for a moment, with their payloads of up to a megabyte.
_CHUNK: Final = 200


class PurgeInterruptedError(Exception):
    """The API process is stopping before the purge has come to its end.

    Attributes:
        purged: How many tasks are cancelled, and stay so.
    """

    def __init__(self, purged: int) -> None:
        super().__init__(f"{purged} tasks were purged before this API process was told to stop")
        self.purged = purged


async def purge(services: Services, queue: str, *, stopping: asyncio.Event) -> int:
    """Cancel what has not started in a queue, and tell those who wait for it.

    Each chunk is a transaction of its own: who dies over it leaves nothing half-done, only something to repeat.

    Returns:
        How many tasks there were.

    Raises:
        PurgeInterruptedError: `stopping` was set.
    """
    purged = 0
    purging = await services.store.purges.begin(queue)
    while (moved := await services.store.purges.next_chunk(purging, _CHUNK)).tasks:
        purged += len(moved.tasks)
        services.publisher.offer(moved.rings)
        await services.news.tell(moved.tasks)
        if stopping.is_set():
            raise PurgeInterruptedError(purged)
    return purged
