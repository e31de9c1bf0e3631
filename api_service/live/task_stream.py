"""The news of one task, from where it stands to its end."""

import asyncio
from functools import cached_property
from typing import Final
from uuid import UUID

import orjson
import structlog

from api_service.live.bookmark import Bookmark
from api_service.live.feed import Feed
from api_service.live.message import Batches, Content, Message, Told
from api_service.live.missed import Missed
from api_service.live.sources import Sources
from shared.cache.base import Cached
from shared.domain.status import is_final
from shared.errors import DatabaseUnavailableError, TaskNotFoundError
from shared.events.position import Position

log = structlog.get_logger(__name__)

#: Events of a task that may wait for a client that reads slowly.
_MOST_WAITING: Final = 256


class _Current:
    """A task as it is now."""

    def __init__(self, cached: Cached) -> None:
        self.version, self.document = cached
        self.is_done = is_final(orjson.loads(cached.document)["status"])

    @cached_property
    def end(self) -> Content:
        """The last message of a task that is done: the whole document, and the version."""
        return Content("status", self.document[:-1] + b',"version":%d}' % self.version)


class TaskStream:
    """What one client is told of a task: a snapshot or what it has missed, then events until the status is final.

    Moves and progress belong to versions of the task: none is told that is not newer than what was told before, so
    that what comes late, twice or by two ways makes no difference.

    Attributes:
        has_ended: Whether the client has heard of the final status.

    Args:
        sources: Where the news comes from.
        task_id: The task.
        bookmark: How far the client has heard; None begins with a snapshot.
        idle_s: Seconds without news after which there is an empty batch, so that the client can be shown that all is
            well.
    """

    def __init__(self, sources: Sources, task_id: UUID, bookmark: Bookmark | None, *, idle_s: float) -> None:
        self._sources = sources
        self._task_id = task_id
        self._place = bookmark.place if bookmark else None
        self._version = bookmark.version if bookmark else 0
        self._idle_s = idle_s
        self.has_ended = False

    async def batches(self) -> Batches:
        """Messages as they come. No batch at all: the client has heard everything.

        Raises:
            TaskNotFoundError: No such task; before the first batch.
            DatabaseUnavailableError: Nobody knows now; before the first batch.
        """
        streams, lookout = self._sources.streams, self._sources.lookout
        with streams.feed(self._task_id, limit=_MOST_WAITING) as feed, lookout.on_duty():
            beginning = await self._begin(feed)
            if beginning is not None:
                yield beginning
            while not (self.has_ended or feed.is_closed):
                try:
                    batch = await self._more(feed)
                except (DatabaseUnavailableError, TaskNotFoundError) as error:
                    # The client resumes after what it has heard.
                    log.info("stream_cut", task_id=str(self._task_id), reason=str(error))
                    return
                yield batch

    # The beginning ..................................................................

    async def _begin(self, feed: Feed) -> list[Message] | None:
        """What brings the client up to date; None if it knows that the task is done."""
        # What happens from now on is in the feed.
        feed.renew()
        place = await self._sources.streams.place()
        current = await self._read(self._version)
        if self._place is None or self._version > current.version:  # a bookmark of another task
            self.has_ended = current.is_done
            feed.known_version = current.version
            return [self._snapshot(current, place)]
        if current.is_done and self._version == current.version:
            self.has_ended = True
            return None
        missed = await self._sources.missed.after(self._place, self._task_id)
        messages = [] if missed.is_whole else [self._snapshot(current, None if missed.events else place)]
        messages += self._told_again(missed, current)
        if current.is_done and not self.has_ended:
            self.has_ended = True
            if self._version < current.version:
                messages.append(self._end(current))
        feed.known_version = max(feed.known_version, self._version)
        return messages

    def _snapshot(self, current: _Current, place: Position | None) -> Message:
        self._version = current.version
        self._place = place or self._place
        return Message(Content("snapshot", current.document), str(Bookmark(place, self._version)) if place else "")

    def _told_again(self, missed: Missed, current: _Current) -> list[Message]:
        messages = []
        for event in missed.events:
            told = Told(event)
            if not self._is_news(told):
                continue
            if told.is_final and told.version == current.version and current.is_done:
                messages.append(self._end(current))
                self.has_ended = True
            else:
                messages.append(self._message(told.content))
        return messages

    # And on .........................................................................

    async def _more(self, feed: Feed) -> list[Message]:
        """What is next to be said; nothing where there is no news for a while."""
        while not feed.is_behind:
            waiting = await feed.take(self._idle_s)
            messages = [message for told in waiting for message in await self._tell(told)]
            if messages or not waiting:
                return messages
        return await self._begin(feed) or []

    async def _tell(self, told: Told) -> list[Message]:
        if self.has_ended or not self._is_news(told):
            return []
        if not told.is_final:
            return [self._message(told.content)]
        current = await self._whole(told)
        if current.is_done:
            self.has_ended = True
            return [self._end(current)]
        return [self._message(told.content)]  # it has been renewed meanwhile

    def _is_news(self, told: Told) -> bool:
        """Whether the client has not heard it; notes that now it has."""
        if told.version is not None:
            if told.version <= self._version:
                return False
            self._version = told.version
        elif told.place and self._place and told.place <= self._place:
            return False
        self._place = told.place or self._place
        return True

    async def _whole(self, told: Told) -> _Current:
        """The task as a final event left it; read once for all who watch."""
        if told.whole is None:
            told.whole = asyncio.create_task(self._read(told.version or 0))
        whole: _Current = await asyncio.shield(told.whole)
        return whole

    async def _read(self, version: int) -> _Current:
        return _Current(await self._sources.reader.read_since(self._task_id, version))

    def _end(self, current: _Current) -> Message:
        self._version = max(self._version, current.version)
        return self._message(current.end)

    def _message(self, content: Content) -> Message:
        return Message(content, str(Bookmark(self._place, self._version)) if self._place else "")
