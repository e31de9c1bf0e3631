"""Tells the world what has moved: status documents into the cache, events into the stream."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple
from uuid import UUID

import structlog

from shared.cache.base import Cache, Count, Entry
from shared.cache.counting import counts_of, durations_of
from shared.domain.status import FINAL, TaskStatus
from shared.domain.task import TaskRecord, document
from shared.errors import CacheUnavailableError
from shared.events.base import Event, Events
from shared.events.telling import event_of

log = structlog.get_logger(__name__)

#: Seconds that a document of a task that will still move is kept: a cache that missed an update heals by then.
LIVE_TTL_S: Final = 3.0

#: A signal that is about no task.
_NO_TASK: Final = UUID(int=0)

#: Where one write told of more moves than this, more are on their way: the next write waits so many seconds for them.
_CROWD: Final = 4
_GATHER_S: Final = 0.005
#: Documents written in one round trip.
_MAX_DOCUMENTS: Final = 500
#: Events that may wait to be written before those who make more are made to wait.
_MAX_UNTOLD: Final = 2_000


@dataclass(slots=True)
class _Untold:
    """What the next write tells. Of each task only the newest document: the older ones would not be seen."""

    newest: dict[UUID, TaskRecord | Entry] = field(default_factory=dict)
    moved: list[TaskRecord] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    is_due: bool = False
    told: asyncio.Event = field(default_factory=asyncio.Event)


class _Held(NamedTuple):
    """A task that is told of at `due` (on the clock of the event loop), or with its next move if that comes first."""

    task: TaskRecord
    due: float


class News:
    """Writes cache and events after a move is committed. Nothing here can fail the move.

    What comes while a write is in flight is told, all together, by the next.

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
        self._untold = _Untold()
        self._held: dict[UUID, _Held] = {}
        self._writing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<News untold={len(self._untold.events)} held={len(self._held)} writing={self._writing is not None}>"

    @property
    def heals_within_s(self) -> float:
        """Seconds after which a cache that missed changes holds no document that is no longer true."""
        return max(LIVE_TTL_S, self._failure_ttl_s)

    # Telling ........................................................................

    def offer(
        self,
        tasks: Sequence[TaskRecord],
        *,
        kind: str = "status",
        before: Sequence[Event] = (),
        within_s: float = 0.0,
    ) -> None:
        """Soon write the documents of tasks as they are now, and an event of `kind` for each. Returns at once.

        Whoever hears the event finds the document: it is there first.

        Args:
            tasks: The tasks.
            kind: `status` tells of a move, which is counted; `progress` does not.
            before: Events that nobody may hear after these.
            within_s: How long this may wait to be told together with the next move of the same task.
        """
        if not (tasks or before):
            return
        if within_s:
            self._hold(tasks, within_s)
            return
        for event in before:
            self._release(event.task_id)
        self._untold.events += before
        for task in tasks:
            self._release(task.id)
            self._note(task, kind)
        self._write_soon()

    async def tell(self, tasks: Sequence[TaskRecord], *, kind: str = "status", before: Sequence[Event] = ()) -> None:
        """The same; returns when it is written, or Redis is away."""
        self.offer(tasks, kind=kind, before=before)
        await self.flushed()

    async def flushed(self) -> None:
        """Return when all that was offered until now is written, or lost with Redis."""
        self._release_due(math.inf)
        if self._untold.events:
            self._write_soon()
            await self._untold.told.wait()
        elif self._writing is not None:
            await asyncio.wait([self._writing])

    async def keep_up(self) -> None:
        """Return when there is room for more: at once, unless the writes are slower than what is offered."""
        if len(self._untold.events) > _MAX_UNTOLD:
            await self.flushed()

    async def count_submitted(self, numbers: Mapping[str, int]) -> None:
        """Count new tasks, given by queue, for the rates."""
        counts = [Count(queue, "submitted", number) for queue, number in numbers.items()]
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

    # Holding ........................................................................

    def _hold(self, tasks: Sequence[TaskRecord], within_s: float) -> None:
        due = asyncio.get_running_loop().time() + within_s
        for task in tasks:
            self._release(task.id)
            self._held[task.id] = _Held(task, due)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(due, self._time_is_up)

    def _release(self, task_id: UUID) -> None:
        if held := self._held.pop(task_id, None):
            self._note(held.task, "status")

    def _release_due(self, now: float) -> None:
        for task_id in [task_id for task_id, held in self._held.items() if held.due <= now]:
            self._release(task_id)

    def _time_is_up(self) -> None:
        self._timer, loop = None, asyncio.get_running_loop()
        self._release_due(loop.time())
        if self._held:
            self._timer = loop.call_at(min(held.due for held in self._held.values()), self._time_is_up)
        if self._untold.events:
            self._write_soon()

    # Writing ........................................................................

    def _note(self, task: TaskRecord, kind: str) -> None:
        untold = self._untold
        held = untold.newest.get(task.id)
        try:
            if held is None or task.version >= held.version:
                # The document of a task that may move again before it is written is made then, if at all.
                untold.newest[task.id] = self.entry(task) if task.status in FINAL else task
            untold.events.append(event_of(task, kind))
        except Exception:  # who offers has a move to get on with, and the other tasks are told of
            log.exception("news_failed", task_id=str(task.id))
        if kind == "status":
            untold.moved.append(task)

    def _write_soon(self) -> None:
        self._untold.is_due = True
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all(), name="news")

    async def _write_all(self) -> None:
        try:
            while self._untold.is_due:
                untold, self._untold = self._untold, _Untold()
                await self._write(untold)
                if len(untold.moved) > _CROWD:
                    await asyncio.sleep(_GATHER_S)
        finally:
            self._writing = None

    async def _write(self, untold: _Untold) -> None:
        try:
            await self._write_documents(list(untold.newest.values()), untold.moved)
            await self._survive(lambda: self._events.publish(untold.events))
        except Exception:
            log.exception("news_failed", count=len(untold.events))
        finally:
            untold.told.set()

    async def _write_documents(self, newest: Sequence[TaskRecord | Entry], moved: Sequence[TaskRecord]) -> None:
        counts, durations = counts_of(moved), durations_of(moved)
        for start in range(0, len(newest), _MAX_DOCUMENTS):
            some = newest[start : start + _MAX_DOCUMENTS]
            entries = [one if isinstance(one, Entry) else self.entry(one) for one in some]
            await self._survive(partial(self._cache.put, entries, counts, durations))
            counts, durations = [], []

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
