"""Tells the world what has moved: status documents into the cache, events into the stream."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import orjson
import structlog

from shared.cache.base import Cache, Count, Duration, Entry
from shared.domain.durations import bucket_of
from shared.domain.status import FINAL, WAITING, TaskStatus
from shared.domain.task import TaskRecord, document
from shared.errors import CacheUnavailableError
from shared.events.base import Event, Events

log = structlog.get_logger(__name__)

#: Seconds that a document of a task that will still move is kept: a cache that missed an update heals by then.
LIVE_TTL_S: Final = 3.0

#: A signal that is about no task.
_NO_TASK: Final = UUID(int=0)

#: Where they end, an attempt has run until then.
_RAN: Final = frozenset({TaskStatus.SUCCEEDED, TaskStatus.FAILED})
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

    async def tell(self, tasks: Sequence[TaskRecord], *, kind: str = "status", before: Sequence[Event] = ()) -> None:
        """Write the documents of tasks as they are now, and an event of `kind` (`status`, `progress`) for each.

        Whoever hears the event finds the document: it is there first.

        Args:
            tasks: The tasks.
            kind: `status` tells of a move, which is counted.
            before: Events that nobody may hear after these.
        """
        if tasks:
            moved = tasks if kind == "status" else ()
            entries = [self.entry(task) for task in tasks]
            await self._survive(lambda: self._cache.put(entries, _counts(moved), _durations(moved)))
        if events := [*before, *(event_of(task, kind) for task in tasks)]:
            await self._survive(lambda: self._events.publish(events))

    async def count_submitted(self, queues: Sequence[str]) -> None:
        """Count new tasks for the rates."""
        counts = [Count(queue, "submitted", number) for queue, number in Counter(queues).items()]
        await self._survive(lambda: self._cache.put([], counts))

    async def ping(self) -> None:
        """Return when the cache has answered.

        Raises:
            CacheUnavailableError: It did not.
        """
        await self._cache.ping()

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


def event_of(task: TaskRecord, kind: str = "status") -> Event:
    """What clients are shown of a move, or of progress, without another request. The result is not part of it."""
    data: dict[str, Any] = {"status": task.status, "attempt": task.attempt, "version": task.version}
    if kind == "progress":
        data["progress"] = _value(task.progress)
    else:
        data |= _details(task)
    return Event(kind, task.id, task.type, task.queue, data)


def _details(task: TaskRecord) -> dict[str, Any]:
    details: dict[str, Any] = {"max_attempts": task.max_attempts}
    if task.status == TaskStatus.RUNNING:
        details |= {"worker": task.worker, "started_at": _moment(task.started_at)}
        details |= {"cancel_requested": task.cancel_requested, "progress": _value(task.progress)}
    elif task.status in WAITING:
        details["run_at"] = _moment(task.run_at)
    else:
        details |= {"started_at": _moment(task.started_at), "finished_at": _moment(task.finished_at)}
    if task.error is not None:
        details["error"] = {name: text for name, text in _value(task.error).items() if name != "traceback"}
    return details


def _value(text: str | None) -> Any:
    return None if text is None else orjson.loads(text)


def _moment(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _counts(moved: Sequence[TaskRecord]) -> list[Count]:
    numbers = Counter((task.queue, _COUNTED[TaskStatus(task.status)]) for task in moved if task.status in _COUNTED)
    return [Count(queue, what, number) for (queue, what), number in numbers.items()]


def _durations(moved: Sequence[TaskRecord]) -> list[Duration]:
    took = (duration for task in moved if (duration := _duration(task)) is not None)
    return [Duration(*place, number) for place, number in Counter(took).items()]


def _duration(task: TaskRecord) -> tuple[str, str, int] | None:
    """The (queue, what, bucket) to count for a move: how long the task waited, or how long its last attempt ran."""
    if task.started_at is None:
        return None
    # A running task is told of twice where its end was asked for.
    if task.status == TaskStatus.RUNNING and task.queued_at and not task.cancel_requested:
        return task.queue, "waiting", bucket_of((task.started_at - task.queued_at).total_seconds())
    if task.status in _RAN and task.finished_at:
        return task.queue, "running", bucket_of((task.finished_at - task.started_at).total_seconds())
    return None
