"""The way out: a task as it is now, or as soon as it is done."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final
from uuid import UUID

import structlog

from api_service.services import Services
from shared.cache.base import Cached
from shared.domain.status import is_final
from shared.domain.task import TaskRecord, document
from shared.errors import CacheUnavailableError, DatabaseUnavailableError
from shared.ids import age_s

log = structlog.get_logger(__name__)

#: Seconds that PostgreSQL may be away before a reader is told.
_PATIENCE_S: Final = 1.0
#: Seconds for which a new task is read from PostgreSQL: a short one moves faster than the cache learns of it, and
#: while it waits its document is not worth keeping.
_YOUNG_S: Final = 0.1
#: Seconds after which a waiting request looks for itself: an event may be lost, or Redis be away.
_LOOK_AGAIN_S: Final = 1.0


class TaskReader:
    """Reads the documents of tasks.

    Args:
        services: Where they are.
        stopping: Ends all waiting once it is set.
    """

    def __init__(self, services: Services, stopping: asyncio.Event) -> None:
        self._database = services.store.database
        self._tasks = services.store.tasks
        self._cache = services.cache
        self._news = services.news
        self._streams = services.streams
        self._stopping = stopping
        self._distrusts_cache_until = 0.0

    async def read(self, task_id: UUID) -> Cached:
        """The task as it is, or as it was a few seconds ago if the cache missed a change, but never older than told.

        Raises:
            TaskNotFoundError: No such task.
            DatabaseUnavailableError: It isn't cached, and PostgreSQL is away.
        """
        if abs(age_s(task_id)) < _YOUNG_S:
            with suppress(DatabaseUnavailableError):  # then what the cache has is better than nothing
                task = await self._tasks.get(task_id)
                # Nothing in the cache is older than a task as it was born; what has moved must be told from now on.
                return _as_cached(task) if task.version == 1 else await self._keep(task)
        try:
            cached = await self._cache.get(task_id)
        except CacheUnavailableError:
            self._distrust_cache()
            return _as_cached(await self._look_up(task_id))
        if cached and time.monotonic() >= self._distrusts_cache_until:
            return cached
        return await self._keep(await self._look_up(task_id))

    async def read_since(self, task_id: UUID, version: int) -> Cached:
        """The task as it is at `version` or later, which PostgreSQL is known to have; raises what `read` does."""
        cached = await self.read(task_id)
        return cached if cached.version >= version else await self._keep(await self._look_up(task_id))

    async def read_when_final(
        self, task_id: UUID, *, within_s: float, is_gone: Callable[[], Awaitable[bool]]
    ) -> Cached:
        """The task once it is final, or as it is after `within_s` seconds; raises what `read` does.

        Args:
            task_id: The task.
            within_s: How long to wait at most.
            is_gone: Whether nobody waits for the answer any more.
        """
        until = time.monotonic() + within_s
        # Watched before it is read: what happens in between is not missed.
        async with self._streams.watch(task_id) as watch:
            task = await self._look_up(task_id)
            while not is_final(task.status) and (left_s := until - time.monotonic()) > 0:
                if self._stopping.is_set() or await is_gone():
                    break
                await watch.changed(min(left_s, _LOOK_AGAIN_S))
                task = await self._read_again(task)
        # The worker may have lost sight of the cache: who asks again must not be told what was before.
        return await self._keep(task)

    async def _look_up(self, task_id: UUID) -> TaskRecord:
        # The connections that a restart of PostgreSQL has cut are noticed when they are used: no reason for a 503.
        return await self._database.persist(lambda: self._tasks.get(task_id), for_s=_PATIENCE_S)

    async def _keep(self, task: TaskRecord) -> Cached:
        entry = self._news.entry(task)
        try:
            await self._cache.put([entry])
        except CacheUnavailableError as error:
            log.debug("document_not_kept", reason=str(error))
            self._distrust_cache()
        return Cached(entry.version, entry.document)

    def _distrust_cache(self) -> None:
        # Clients are told what PostgreSQL knows now, and a cache that comes back may hold what was before.
        self._distrusts_cache_until = time.monotonic() + self._news.heals_within_s

    async def _read_again(self, task: TaskRecord) -> TaskRecord:
        try:
            return await self._tasks.get(task.id)
        except DatabaseUnavailableError as error:
            # It may well be back before the time is up.
            log.info("wait_goes_on_without_database", reason=str(error))
            return task


def _as_cached(task: TaskRecord) -> Cached:
    return Cached(task.version, document(task))
