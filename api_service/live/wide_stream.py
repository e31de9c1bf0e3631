"""The news of all tasks."""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final

import structlog

from api_service.live.bookmark import Bookmark
from api_service.live.feed import Feed
from api_service.live.message import Batches, Content, Message, Told
from api_service.live.sources import Sources
from shared.errors import CacheUnavailableError
from shared.events.base import MARK, Event
from shared.events.position import Position

log = structlog.get_logger(__name__)

#: Events that may wait for a client that reads slowly.
_MOST_WAITING: Final = 10_000
_GAP: Final = Content("gap", b"{}")
_BEGINNING: Final = "0-0-0"


class WideStream:
    """What one client is told of all tasks that a feed wants: what it has missed, then events as they come.

    Args:
        sources: Where the news comes from.
        queue: The only queue that the client wants to hear of; None for all.
        type_: The same for the type of task.
        bookmark: How far the client has heard; None begins with what is new.
        idle_s: Seconds without news after which there is an empty batch.
    """

    def __init__(
        self,
        sources: Sources,
        *,
        queue: str | None,
        type_: str | None,
        bookmark: Bookmark | None,
        idle_s: float,
    ) -> None:
        self._streams = sources.streams
        self._events = sources.events
        self._feed = Feed(_MOST_WAITING, queue=queue, type_=type_)
        self._place = bookmark.place if bookmark else None
        self._idle_s = idle_s

    async def batches(self) -> Batches:
        """Messages as they come. The first batch holds nothing but an id to resume after."""
        with self._streams.wide_feed(self._feed) as feed:
            has_missed = self._place is not None
            self._place = self._place or await self._streams.place()
            yield [Message(None, self._id)]
            while not feed.is_closed:
                feed.renew()
                if has_missed:
                    async for batch in self._catch_up():
                        yield batch
                async for batch in self._follow():
                    yield batch
                has_missed = True

    async def _catch_up(self) -> AsyncIterator[list[Message]]:
        """What is in the stream after the client's place; a `gap` first where that may not be all."""
        is_whole = False
        try:
            async for events in self._events.replay(self._id or _BEGINNING):
                if not is_whole and not self._is_at_hand(events):
                    yield [self._message(_GAP)]
                is_whole = True
                if messages := self._tell(map(Told, events)):
                    yield messages
        except CacheUnavailableError as error:
            log.info("missed_events_unknown", reason=str(error))
        if not is_whole:
            yield [self._message(_GAP)]

    async def _follow(self) -> AsyncIterator[list[Message]]:
        """Batches until the client falls behind or the process stops."""
        feed = self._feed
        while not (feed.is_behind or feed.is_closed):
            waiting = await feed.take(self._idle_s)
            messages = self._tell(waiting)
            if messages or not waiting:
                yield messages

    def _is_at_hand(self, events: Sequence[Event]) -> bool:
        """Whether these, the first of a replay, are of the batch of the client's place: nothing is lost since."""
        return bool(events and self._place and Position.parse(events[0].id)[:2] == self._place[:2])

    def _tell(self, tolds: Iterable[Told]) -> list[Message]:
        messages = []
        for told in tolds:
            if self._place is None or (told.place is not None and told.place > self._place):
                self._place = told.place
                if told.event.kind != MARK and self._feed.wants(told):
                    messages.append(self._message(told.content))
        return messages

    @property
    def _id(self) -> str:
        return str(Bookmark(self._place)) if self._place else ""

    def _message(self, content: Content) -> Message:
        return Message(content, self._id)
