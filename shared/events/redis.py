"""The event stream in Redis."""

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final
from uuid import UUID
from weakref import WeakSet

import orjson
import structlog
from redis.asyncio import Redis

from shared import jsontext
from shared.errors import CacheUnavailableError
from shared.events.base import Batch, Event, mark
from shared.events.position import LAST_OFFSET, Position
from shared.events.tail import ENTRIES_PER_READ, NO_ENTRY, StreamEntry, Tail, last_id
from shared.redis_client import RedisClient, connect, disconnect

_EVENTS: Final = "taskmill:events"
_CANCELS: Final = "taskmill:cancels"
_FIELD: Final = b"e"
_EVENTS_PER_ENTRY: Final = 100
_KEPT_CANCELS: Final = 1000
_UUID_BYTES: Final = 16

# ARGV: the bytes that the stream may take, and the entries. Entries hold one event or a hundred, so a limit on
# their number would be too small for a quiet system or too large for a busy one.
_PUBLISH: Final = f"""
for i = 2, #ARGV do
  redis.call('XADD', KEYS[1], '*', '{_FIELD.decode()}', ARGV[i])
end
if redis.call('MEMORY', 'USAGE', KEYS[1]) > tonumber(ARGV[1]) then
  redis.call('XTRIM', KEYS[1], 'MAXLEN', '~', math.floor(redis.call('XLEN', KEYS[1]) * 0.9))
end
"""

log = structlog.get_logger(__name__)


class RedisEvents:
    """Publishes to and follows the streams in the Redis at `url`.

    One entry of the stream holds a batch of events as a JSON array. The id of an event is the id of its entry and
    its place in there.

    Args:
        max_bytes: The memory that the stream may take in Redis; the oldest tenth goes when it is full.
    """

    def __init__(self, url: str, max_bytes: int = 64 * 1024 * 1024) -> None:
        self._client = RedisClient(url)
        # Readers block their connections: they have their own.
        self._readers = connect(url)
        self._max_bytes = max_bytes
        self._tails: WeakSet[Tail] = WeakSet()
        self._closed = False

    async def open(self) -> None:
        """Connect, if Redis is there."""
        with suppress(CacheUnavailableError):
            await self._client.call(lambda redis: redis.ping())

    async def close(self) -> None:
        """Disconnect; iterators end."""
        self._closed = True
        for tail in list(self._tails):
            tail.close()
        await self._client.close()
        await disconnect(self._readers)

    async def publish(self, events: Sequence[Event]) -> None:
        """Append events, in one round trip. Old ones fall off the end."""
        if events:
            starts = range(0, len(events), _EVENTS_PER_ENTRY)
            entries = [_encode(events[start : start + _EVENTS_PER_ENTRY]) for start in starts]
            await self._client.call(lambda redis: redis.eval(_PUBLISH, 1, _EVENTS, self._max_bytes, *entries))

    def follow(self, after: str | None = None) -> AsyncIterator[Batch]:
        """Events as they come, in batches, from the first read or from just after the id `after`.

        An `after` that has fallen off the end means the oldest that are there; one that the stream has not
        reached (Redis lost its data) means those that come.

        Raises:
            ValueError: `after` is not an id.
        """
        position = None if after is None else Position.parse(after)
        return self._follow(self._tail(_EVENTS, position and position.before_batch), position)

    async def end(self) -> str:
        """A place as ids name them: later events are after it, all that are there now are not."""
        newest = await self._client.call(lambda redis: last_id(redis, _EVENTS))
        if newest == NO_ENTRY:
            await self.publish([mark()])
            newest = await self._client.call(lambda redis: last_id(redis, _EVENTS))
        return f"{newest}-{LAST_OFFSET}"

    def replay(self, start: str) -> AsyncIterator[Sequence[Event]]:
        """The events that are there now, in batches, from the beginning of the batch on that the id `start` is in.

        Raises:
            ValueError: `start` is not an id.
        """
        return self._replay(Position.parse(start).batch_id)

    async def signal_cancel(self, task_ids: Sequence[UUID]) -> None:
        """Tell the workers at once that the end of running tasks was asked for. May be lost: heartbeats repeat it."""
        if task_ids:
            value = b"".join(task_id.bytes for task_id in task_ids)
            await self._client.call(
                lambda redis: redis.xadd(_CANCELS, {_FIELD: value}, maxlen=_KEPT_CANCELS, approximate=True)
            )

    async def cancel_signals(self) -> AsyncIterator[UUID]:
        """Ids of running tasks whose end was asked for, as signals come.

        A stream carries them too: unlike a channel it belongs to one database of Redis, and a reader that was cut off
        for a while catches up.
        """
        tail = self._tail(_CANCELS, None)
        while (entries := await tail.read()) is not None:
            for entry in entries:
                value = entry.fields.get(_FIELD, b"")
                for start in range(0, len(value) - _UUID_BYTES + 1, _UUID_BYTES):
                    yield UUID(bytes=value[start : start + _UUID_BYTES])

    async def _follow(self, tail: Tail, position: Position | None) -> AsyncIterator[Batch]:
        while (entries := await tail.read()) is not None:
            for entry in entries:
                is_known = position is not None and entry.id == position.batch_id
                skipped = position.offset + 1 if position and is_known else 0
                yield Batch(f"{entry.id}-{LAST_OFFSET}", partial(_decode, entry, skipped))

    async def _replay(self, start: str) -> AsyncIterator[Sequence[Event]]:
        # What comes meanwhile is left out: where much comes, this would have no end.
        end = await self._client.call(lambda redis: last_id(redis, _EVENTS))
        while entries := await self._client.call(partial(_read_range, start=start, end=end)):
            for entry in entries:
                yield _decode(entry)
            start = Position.parse(f"{entries[-1].id}-0").next_batch

    def _tail(self, stream: str, after: str | None) -> Tail:
        tail = Tail(self._readers, stream, after)
        if self._closed:
            tail.close()
        self._tails.add(tail)
        return tail


async def _read_range(redis: Redis, start: str, end: str) -> list[StreamEntry]:
    reply: Any = await redis.xrange(_EVENTS, start, end, count=ENTRIES_PER_READ)
    return [StreamEntry(entry_id.decode(), fields) for entry_id, fields in reply]


def _encode(events: Sequence[Event]) -> bytes:
    rows = [(event.kind, str(event.task_id), event.type, event.queue, event.data) for event in events]
    return jsontext.encode(rows)


def _decode(entry: StreamEntry, skipped: int = 0) -> list[Event]:
    try:
        rows: list[list[Any]] = orjson.loads(entry.fields[_FIELD])
        return [
            Event(kind, UUID(task_id), type_, queue, data, id=f"{entry.id}-{index}")
            for index, (kind, task_id, type_, queue, data) in enumerate(rows)
        ][skipped:]
    except (KeyError, ValueError, TypeError) as error:
        log.warning("stream_entry_skipped", id=entry.id, reason=str(error))
        return []
