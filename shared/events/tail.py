"""Reading a Redis stream on and on, whatever happens to Redis."""

import asyncio
import random
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, Final, NamedTuple, TypeVar

import structlog
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from shared.redis_client import REDIS_FAULTS

_BLOCK_S: Final = 2.0
# Redis answers a blocking read after `_BLOCK_S` at the latest; one that does not is away.
_READ_S: Final = _BLOCK_S + 2.0
#: Up to a hundred events each.
ENTRIES_PER_READ: Final = 20
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 1.5
#: What stands for the id of the newest entry of a stream without any.
NO_ENTRY: Final = "0-0"

Reply = TypeVar("Reply")
log = structlog.get_logger(__name__)


class StreamEntry(NamedTuple):
    """What was appended at one time."""

    id: str
    fields: dict[bytes, bytes]


class Tail:
    """One reader of one stream.

    When it has lost sight of Redis, and when nothing came for two seconds, it looks where the stream ends. If
    that is before its own place, then Redis has lost its data and counts from an earlier time: it goes on with what
    is new from then on.

    Args:
        after: The id to start after; None means with what is new at the first read.
    """

    def __init__(self, redis: Redis, stream: str, after: str | None) -> None:
        self._redis = redis
        self._stream = stream
        self._after = after
        self._is_placed = False
        self._failures = 0
        self._closed = False
        self._waiting: asyncio.Timeout | None = None

    async def read(self) -> list[StreamEntry] | None:
        """The next entries; None once closed. Waits for them, and while Redis is away."""
        while not self._closed:
            try:
                entries = await self._within(_READ_S, self._read_once())
            except REDIS_FAULTS as fault:
                await self._pause_after(fault)
            else:
                self._note_found()
                if entries:
                    return entries
        return None

    def close(self) -> None:
        """Make the read that waits, and all later ones, return None."""
        self._closed = True
        if self._waiting and not self._waiting.expired():
            self._waiting.reschedule(0)

    async def _read_once(self) -> list[StreamEntry]:
        if not self._is_placed or self._after is None:
            self._after = await self._place()
            self._is_placed = True
        reply: Any = await self._redis.xread(
            {self._stream: self._after}, count=ENTRIES_PER_READ, block=int(_BLOCK_S * 1000)
        )
        if not reply:
            self._is_placed = False
            return []
        entries = [StreamEntry(entry_id.decode(), fields) for entry_id, fields in reply[0][1]]
        self._after = entries[-1].id
        return entries

    async def _place(self) -> str:
        end = await last_id(self._redis, self._stream)
        if self._after is None:
            return end
        if _order(end) < _order(self._after):
            log.info("stream_restarted", stream=self._stream, after=self._after, end=end)
            return end
        return self._after

    async def _pause_after(self, fault: BaseException) -> None:
        self._is_placed = False
        if self._closed:
            return
        if not self._failures:
            log.warning("stream_lost", stream=self._stream, reason=str(fault) or "no answer")
        longest = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** min(self._failures, 10))
        self._failures += 1
        with suppress(TimeoutError):  # closed
            await self._within(_READ_S, asyncio.sleep(longest * random.uniform(0.5, 1.0)))

    def _note_found(self) -> None:
        if self._failures:
            log.info("stream_found", stream=self._stream, after=self._after)
            self._failures = 0

    async def _within(self, limit_s: float, waiting: Awaitable[Reply]) -> Reply:
        """The reply, within the limit and before `close`.

        Raises:
            TimeoutError: It did not come.
        """
        try:
            async with asyncio.timeout(limit_s) as self._waiting:
                return await waiting
        finally:
            self._waiting = None


def _order(entry_id: str) -> tuple[int, int]:
    time_ms, _, number = entry_id.partition("-")
    return int(time_ms), int(number)


async def last_id(redis: Redis, stream: str) -> str:
    """The id that was given out last, be its entry still there or not."""
    try:
        about: dict[str, Any] = await redis.xinfo_stream(stream)
    except ResponseError as error:
        if "no such key" not in str(error):
            raise
        return NO_ENTRY
    end: bytes = about["last-generated-id"]
    return end.decode()
