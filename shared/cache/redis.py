"""The cache in Redis: a key for each task's document, a hash of counters for each minute."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final
from uuid import UUID

import orjson
from redis.asyncio import Redis

from shared.cache.base import KEPT_MINUTES, Cached, CacheFacts, Count, Duration, Entry, Minute
from shared.errors import CacheUnavailableError
from shared.redis_client import RedisClient

_TASK_KEY: Final = "taskmill:task:"
_COUNTS_KEY: Final = "taskmill:counts:"
_DURATIONS_KEY: Final = "taskmill:durations:"
_COUNTS_TTL_S: Final = (KEPT_MINUTES + 10) * 60
#: Minutes that are read in one go: a reader of a whole day must not hold up who writes.
_MINUTES_PER_READ: Final = 120

# A value is the version in so many digits, then the document: Lua and Python both split it cheaply.
_VERSION_DIGITS: Final = 10

# A script runs alone in Redis: it is given no more than takes it about a millisecond.
_CHUNK_ENTRIES: Final = 250
_CHUNK_BYTES: Final = 512 * 1024

# ARGV: for each task its key, version, time to live in milliseconds, and the length of its value, as JSON; then all
# values in a row. The client would spend several times as long on arguments of their own.
_PUT: Final = f"""
local call, at = redis.call, 1
for _, entry in ipairs(cjson.decode(ARGV[1])) do
  local key, version, ttl, length = unpack(entry)
  local held = tonumber(call('GETRANGE', key, 0, {_VERSION_DIGITS - 1}))
  if not held or version >= held then
    call('SET', key, string.sub(ARGV[2], at, at + length - 1), 'PX', string.format('%.0f', ttl))
  end
  at = at + length
end
"""

# ARGV: the beginning of the key, then field and number, again and again. The minute is Redis's own, which all its
# clients share.
_COUNT: Final = f"""
local key = ARGV[1] .. math.floor(redis.call('TIME')[1] / 60)
for i = 2, #ARGV, 2 do
  redis.call('HINCRBY', key, ARGV[i], ARGV[i + 1])
end
redis.call('EXPIRE', key, {_COUNTS_TTL_S})
"""

# ARGV: how many full minutes. Answers with the fields and numbers of all of them in a row.
_SUM: Final = f"""
local now, found = math.floor(redis.call('TIME')[1] / 60), {{}}
for minute = now - ARGV[1], now do
  for _, item in ipairs(redis.call('HGETALL', '{_COUNTS_KEY}' .. minute)) do
    found[#found + 1] = item
  end
end
return found
"""


class RedisCache:
    """Keeps documents and counters in the Redis at `url`.

    Scripts are sent as text each time. That costs a microsecond next to a batch of documents, and there is
    no script that a restarted or flushed Redis could have forgotten.
    """

    def __init__(self, url: str) -> None:
        self._client = RedisClient(url)

    async def open(self) -> None:
        """Connect, if Redis is there."""
        with suppress(CacheUnavailableError):
            await self.ping()

    async def close(self) -> None:
        """Disconnect."""
        await self._client.close()

    async def put(
        self, entries: Sequence[Entry], counts: Sequence[Count] = (), durations: Sequence[Duration] = ()
    ) -> None:
        """Keep documents, each unless a newer one is there; add to the counters. One round trip."""
        scripts: list[tuple[Any, ...]] = [(_PUT, 0, *_put_arguments(chunk)) for chunk in _chunks(entries)]
        if counts:
            numbers = [(f"{count.queue}|{count.what}", count.number) for count in counts]
            scripts.append((_COUNT, 0, _COUNTS_KEY, *_count_arguments(numbers)))
        if durations:
            numbers = [(f"{took.queue}|{took.what}|{took.bucket}", took.number) for took in durations]
            scripts.append((_COUNT, 0, _DURATIONS_KEY, *_count_arguments(numbers)))
        if scripts:
            await self._client.call(lambda redis: _run(redis, scripts))

    async def get(self, task_id: UUID) -> Cached | None:
        """The document of a task, if it is there."""
        value: Any = await self._client.call(lambda redis: redis.get(f"{_TASK_KEY}{task_id}"))
        if value is None:
            return None
        return Cached(int(value[:_VERSION_DIGITS]), value[_VERSION_DIGITS:])

    async def counts(self, minutes: int) -> Mapping[tuple[str, str], int]:
        """Sums by (queue, what) over the last so many full minutes (at most 1440) and the one that runs."""
        found = await self._client.call(lambda redis: redis.eval(_SUM, 0, str(minutes)))
        sums: Counter[tuple[str, str]] = Counter()
        for field, number in zip(found[::2], found[1::2], strict=True):
            queue, _, what = field.decode().rpartition("|")
            sums[queue, what] += int(number)
        return sums

    async def minutes(self, minutes: int) -> Sequence[Minute]:
        """The last so many full minutes (at most 1440) and the one that runs, oldest first, without empty ones."""
        seconds, _ = await self._client.call(lambda redis: redis.time())
        last = seconds // 60
        found: list[Minute] = []
        for first in range(last - minutes, last + 1, _MINUTES_PER_READ):
            wanted = range(first, min(first + _MINUTES_PER_READ, last + 1))
            found += await self._client.call(partial(_read_minutes, minutes=wanted))
        return found

    async def ping(self) -> None:
        """Return when Redis has answered."""
        await self._client.call(lambda redis: redis.ping())

    async def inspect(self) -> CacheFacts:
        """What Redis tells about itself."""
        told = await self._client.call(lambda redis: redis.info())
        seconds, microseconds = await self._client.call(lambda redis: redis.time())
        return CacheFacts(
            product=str(told.get("server_name", "redis")).capitalize(),
            version=str(told.get("redis_version", "")),
            role=str(told.get("role", "")),
            used_bytes=int(told.get("used_memory", 0)),
            max_bytes=int(told.get("maxmemory", 0)),
            policy=str(told.get("maxmemory_policy", "")),
            clock=int(seconds) + int(microseconds) / 1_000_000,
        )


async def _run(redis: Redis, scripts: Sequence[tuple[Any, ...]]) -> None:
    async with redis.pipeline(transaction=False) as pipeline:
        for script in scripts:
            pipeline.eval(*script)
        await pipeline.execute()


async def _read_minutes(redis: Redis, minutes: Sequence[int]) -> list[Minute]:
    async with redis.pipeline(transaction=False) as pipeline:
        for minute in minutes:
            pipeline.hgetall(f"{_COUNTS_KEY}{minute}")
            pipeline.hgetall(f"{_DURATIONS_KEY}{minute}")
        replies = await pipeline.execute()
    return [
        Minute(minute * 60, _counts_in(counts), _durations_in(durations))
        for minute, counts, durations in zip(minutes, replies[::2], replies[1::2], strict=True)
        if counts or durations
    ]


def _counts_in(reply: Mapping[bytes, bytes]) -> Mapping[tuple[str, str], int]:
    counts = {}
    for field, number in reply.items():
        queue, _, what = field.decode().rpartition("|")
        counts[queue, what] = int(number)
    return counts


def _durations_in(reply: Mapping[bytes, bytes]) -> Mapping[tuple[str, str], Mapping[int, int]]:
    durations: defaultdict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    for field, number in reply.items():
        queue, what, bucket = field.decode().rsplit("|", 2)
        durations[queue, what][int(bucket)] = int(number)
    return durations


def _chunks(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    start = size = 0
    for end, entry in enumerate(entries):
        if end - start == _CHUNK_ENTRIES or size > _CHUNK_BYTES:
            yield entries[start:end]
            start, size = end, 0
        size += len(entry.document)
    if entries:
        yield entries[start:]


def _put_arguments(entries: Sequence[Entry]) -> tuple[bytes, bytes]:
    """The arguments of `_PUT`."""
    heads, values = [], []
    for task_id, version, document, ttl_s in entries:
        value = b"%0*d%b" % (_VERSION_DIGITS, version, document)
        heads.append((f"{_TASK_KEY}{task_id}", version, max(1, int(ttl_s * 1000)), len(value)))
        values.append(value)
    return orjson.dumps(heads), b"".join(values)


def _count_arguments(numbers: Sequence[tuple[str, int]]) -> Iterator[str | int]:
    sums: Counter[str] = Counter()
    for field, number in numbers:
        sums[field] += number
    for field, number in sums.items():
        yield field
        yield number
