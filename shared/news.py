"""Tells the world what has moved: status documents into the cache, events into the stream."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from uuid import UUID

import structlog

from shared.cache.base import Cache, Count, Entry
from shared.domain.status import FINAL, TaskStatus
from shared.domain.task import TaskRecord, document
from shared.errors import CacheUnavailableError
from shared.events.base import Event, Events

log = structlog.get_logger(__name__)

#: Seconds that a document of a task that will still move is kept: a cache that missed an update heals by then.
LIVE_TTL_S: Final = 3.0

#: A signal that is about no task.
_NO_TASK: Final = UUID(int=0)

_COUNTED: Final = {
    TaskStatus.SUCCEEDED: "succeeded",
    TaskStatus.FAILED: "failed",
    TaskStatus.RETRYING: "retried",
}


class News:
    """Writes cache and events after a move is committed. Nothing here can fail the move.

    Args:
        result_ttl_s: Seconds that the document of a succeeded task, which never moves again, is kept.
        failure_ttl_s: The same for other final statuses, which a person may renew.
    """

    def __init__(self, cache: Cache, events: Events, *, result_ttl_s: float, failure_ttl_s: float) -> None:
        self._cache = cache
        self._events = events
        self._result_ttl_s = result_ttl_s
        self._failure_ttl_s = failure_ttl_s
        self._away = False

    @property
    def heals_within_s(self) -> float:
        """Seconds after which a cache that missed changes holds no document that is no longer true."""
        return max(LIVE_TTL_S, self._failure_ttl_s)

    async def tell(self, tasks: Sequence[TaskRecord], *, kind: str = "status") -> None:
        """Write the documents of tasks as they are now, and an event of `kind` (`status`, `progress`) for each."""
        if not tasks:
            return
        await self._survive(lambda: self._cache.put([self.entry(task) for task in tasks], _counts(tasks, kind)))
        await self._survive(lambda: self._events.publish([_event(task, kind) for task in tasks]))

    async def count_submitted(self, queues: Sequence[str]) -> None:
        """Count new tasks for the rates."""
        counts = [Count(queue, "submitted", number) for queue, number in Counter(queues).items()]
        await self._survive(lambda: self._cache.put([], counts))

    async def signal_cancel(self, task_id: UUID) -> None:
        """Tell the workers at once that a running task is to end; their heartbeats learn it in any case."""
        await self._survive(lambda: self._events.signal_cancel([task_id]))

    async def hurry_workers(self) -> None:
        """Have the workers ask at once what PostgreSQL wants of them; their heartbeats do so in any case."""
        await self._survive(lambda: self._events.signal_cancel([_NO_TASK]))

    def entry(self, task: TaskRecord) -> Entry:
        """The task's document as the cache keeps it."""
        return Entry(task.id, task.version, document(task), self._ttl_s(task.status))

    def _ttl_s(self, status: str) -> float:
        if status == TaskStatus.SUCCEEDED:
            return self._result_ttl_s
        return self._failure_ttl_s if status in FINAL else LIVE_TTL_S

    async def _survive(self, write: Callable[[], Awaitable[None]]) -> None:
        try:
            await write()
        except CacheUnavailableError as error:
            if not self._away:
                log.warning("news_lost", reason=str(error))
            self._away = True
        else:
            if self._away:
                log.info("news_flows_again")
            self._away = False


def _event(task: TaskRecord, kind: str) -> Event:
    data: dict[str, Any] = {"status": task.status, "attempt": task.attempt, "version": task.version}
    if kind == "progress":
        data["progress"] = task.progress
    return Event(kind, task.id, task.type, task.queue, data)


def _counts(tasks: Sequence[TaskRecord], kind: str) -> list[Count]:
    if kind != "status":
        return []
    numbers = Counter((task.queue, _COUNTED[TaskStatus(task.status)]) for task in tasks if task.status in _COUNTED)
    return [Count(queue, what, number) for (queue, what), number in numbers.items()]
