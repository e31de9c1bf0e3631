"""The event stream, read once for the whole process and told to those who watch a task, or all of them."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final, Protocol
from uuid import UUID

import structlog

from api_service.live.feed import Feed
from api_service.live.message import Told
from shared.errors import CacheUnavailableError
from shared.events.base import MARK, Batch, Events
from shared.events.position import Position

_PAUSE_S: Final = 1.0

log = structlog.get_logger(__name__)


class _Listener(Protocol):
    def notice(self, told: Told) -> None: ...


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

    def notice(self, told: Told) -> None:
        """Something happened to the task. What it says makes no difference to who waits for the end."""
        if told.event.kind == "status":
            self._noticed.set()


class Streams:
    """Follows the event stream in the background, and lets any number of requests watch tasks.

    An event costs nothing for those who watch other tasks, and next to nothing where nobody watches any. It may be
    lost with Redis: a watcher looks for itself from time to time.
    """

    def __init__(self, events: Events) -> None:
        self._events = events
        self._listeners: dict[UUID, set[_Listener]] = {}
        self._task_feeds: dict[UUID, set[Feed]] = {}
        self._wide_feeds: set[Feed] = set()
        self._following: asyncio.Task[None] | None = None
        self._last_id: str | None = None
        self._began = asyncio.Event()
        self._has_ended = False

    def __repr__(self) -> str:
        feeds = sum(map(len, self._task_feeds.values())) + len(self._wide_feeds)
        return f"<Streams tasks={len(self._listeners)} feeds={feeds} last_id={self._last_id}>"

    def start(self) -> None:
        """Begin to follow."""
        self._following = asyncio.create_task(self._follow(), name="streams")

    def end_feeds(self) -> None:
        """End all feeds, and those that are asked for from now on: the process stops."""
        self._has_ended = True
        for feeds in (*self._task_feeds.values(), self._wide_feeds):
            for feed in feeds:
                feed.close()

    async def close(self) -> None:
        """Stop following; those who watch notice nothing any more."""
        self.end_feeds()
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])

    # Watching .......................................................................

    @asynccontextmanager
    async def watch(self, task_id: UUID) -> AsyncIterator[Watch]:
        """Watch a task. Begin before you read it, and nothing is missed in between."""
        watch = Watch()
        with _member(self._listeners, task_id, watch):
            yield watch

    @contextmanager
    def feed(self, task_id: UUID, *, limit: int) -> Iterator[Feed]:
        """All events of a task, until the end of the block."""
        feed = self._open(Feed(limit))
        with _member(self._listeners, task_id, feed), _member(self._task_feeds, task_id, feed):
            yield feed

    @contextmanager
    def wide_feed(self, feed: Feed) -> Iterator[Feed]:
        """All events of all tasks that `feed` wants, until the end of the block."""
        self._wide_feeds.add(self._open(feed))
        try:
            yield feed
        finally:
            self._wide_feeds.discard(feed)

    @property
    def task_feeds(self) -> Mapping[UUID, Iterable[Feed]]:
        """The feeds that are open, by task."""
        return self._task_feeds

    async def place(self) -> Position | None:
        """A place in the event stream: open feeds are told all that is after it. None while Redis is away."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_PAUSE_S):
                await self._began.wait()
        return None if self._last_id is None else Position.parse(self._last_id)

    def tell(self, told: Told) -> None:
        """Tell those who watch the task of something that did not come by the event stream."""
        for listener in self._listeners.get(told.event.task_id, ()):
            listener.notice(told)

    # Following ......................................................................

    def _open(self, feed: Feed) -> Feed:
        if self._has_ended:
            feed.close()
        return feed

    async def _follow(self) -> None:
        # Where it begins is known before anybody is told that nothing is missed from there on.
        try:
            self._last_id = await self._events.end()
        except CacheUnavailableError as error:
            log.info("streams_without_place", reason=str(error))
        self._began.set()
        while True:
            try:
                async for batch in self._events.follow(self._last_id):
                    self._tell(batch)
                    self._last_id = batch.end
            except Exception:
                # Without this task every waiting request would be slow, and nobody would know why.
                log.exception("following_broke")
                await asyncio.sleep(_PAUSE_S)
            else:
                return

    def _tell(self, batch: Batch) -> None:
        if not (self._listeners or self._wide_feeds):
            return  # and nobody reads what it says
        for event in batch:
            self._last_id = event.id
            listeners = self._listeners.get(event.task_id, ())
            if event.kind != MARK and (listeners or self._wide_feeds):
                told = Told(event)
                for listener in (*listeners, *self._wide_feeds):
                    listener.notice(told)


@contextmanager
def _member(groups: "dict[UUID, set[Any]]", key: UUID, member: Any) -> Iterator[None]:
    """Have a member in a group until the end of the block, and no empty group after it."""
    groups.setdefault(key, set()).add(member)
    try:
        yield
    finally:
        group = groups[key]
        group.remove(member)
        if not group:
            del groups[key]
