"""The cache and the event stream on a Redis of their own that restarts, forgets, fills up and refuses."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import redis

from shared.cache.base import Cached, Count, Entry
from shared.cache.redis import RedisCache
from shared.errors import CacheUnavailableError
from shared.events.redis import RedisEvents
from shared.ids import new_task_id
from tests.listening import EventListener, event, until
from tests.servers.find import find_server
from tests.servers.redis import Redis

TASK_ID = new_task_id()
#: Longer than the pause that follows a failure.
PAUSE_S = 0.6


@pytest.fixture(scope="module")
def private_server(say: Callable[[str], None]) -> Iterator[Redis]:
    server = find_server(Redis, durable=False, private=True, say=say)
    yield server
    server.close()


@pytest.fixture
def server(private_server: Redis) -> Redis:
    private_server.mend()
    private_server.flush(private_server.url)
    return private_server


@pytest.fixture
def console(server: Redis) -> Iterator[redis.Redis]:
    """A client for what an operator would do; it is undone afterwards."""
    with redis.Redis.from_url(server.url) as client:
        yield client
        client.config_set("maxmemory", 0)
        client.replicaof("NO", "ONE")


@pytest.fixture
async def cache(server: Redis) -> AsyncIterator[RedisCache]:
    made = RedisCache(server.url)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def events(server: Redis) -> AsyncIterator[RedisEvents]:
    made = RedisEvents(server.url)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def listener(events: RedisEvents) -> AsyncIterator[EventListener]:
    async with EventListener(events) as listening:
        yield await listening.hears(events)


async def test_the_cache_works_after_a_flush(cache: RedisCache, console: redis.Redis) -> None:
    await cache.put([Entry(TASK_ID, 5, b"old", 60)], [Count("default", "failed", 1)])
    console.flushall()
    console.script_flush()

    assert await cache.get(TASK_ID) is None
    await cache.put([Entry(TASK_ID, 4, b"new", 60)], [Count("default", "failed", 2)])
    assert await cache.get(TASK_ID) == Cached(4, b"new")
    assert dict(await cache.counts(1)) == {("default", "failed"): 2}


async def test_the_cache_works_after_a_restart(cache: RedisCache, server: Redis) -> None:
    await cache.put([Entry(TASK_ID, 5, b"old", 60)])
    await asyncio.to_thread(server.restart)

    await cache.put([Entry(TASK_ID, 4, b"new", 60)])

    assert await cache.get(TASK_ID) == Cached(4, b"new")


async def test_a_full_redis_can_still_be_read(cache: RedisCache, console: redis.Redis) -> None:
    await cache.put([Entry(TASK_ID, 1, b"{}", 60)])
    console.config_set("maxmemory", 1)

    with pytest.raises(CacheUnavailableError, match="maxmemory"):
        await cache.put([Entry(TASK_ID, 2, b"{}", 60)])

    assert await cache.get(TASK_ID) == Cached(1, b"{}")


async def test_a_full_redis_takes_no_events(events: RedisEvents, console: redis.Redis) -> None:
    console.config_set("maxmemory", 1)

    with pytest.raises(CacheUnavailableError, match="maxmemory"):
        await events.publish([event(1)])


async def test_a_replica_can_still_be_read(cache: RedisCache, console: redis.Redis) -> None:
    await cache.put([Entry(TASK_ID, 1, b"{}", 60)])
    console.replicaof("127.0.0.1", 1)

    with pytest.raises(CacheUnavailableError, match="replica"):
        await cache.put([Entry(TASK_ID, 2, b"{}", 60)])

    assert await cache.get(TASK_ID) == Cached(1, b"{}")


async def test_idle_connections_are_given_up_after_a_failure(
    cache: RedisCache, console: redis.Redis, server: Redis
) -> None:
    await asyncio.gather(*(cache.get(TASK_ID) for _ in range(10)))
    assert len(console.client_list()) > 5
    await asyncio.to_thread(server.pause)
    with pytest.raises(CacheUnavailableError):
        await cache.ping()
    await asyncio.to_thread(server.resume)

    await until(lambda: len(console.client_list()) == 1)


async def test_an_answer_that_it_is_loading_means_away() -> None:
    answer = b"-LOADING Redis is loading the dataset in memory\r\n"

    async def load(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            writer.write(answer)
        writer.close()

    loading = await asyncio.start_server(load, "127.0.0.1", 0)
    cache = RedisCache(f"redis://127.0.0.1:{loading.sockets[0].getsockname()[1]}/0")
    with pytest.raises(CacheUnavailableError, match="loading"):
        await cache.get(TASK_ID)
    await cache.close()
    loading.close()
    await loading.wait_closed()


async def test_a_listener_survives_a_restart(events: RedisEvents, listener: EventListener, server: Redis) -> None:
    await events.publish([event(0)])
    await listener.hears_numbers([0])
    await asyncio.to_thread(server.restart)

    await events.publish([event(1)])
    await events.publish([event(2)])

    await listener.hears_numbers([0, 1, 2])


async def test_a_listener_survives_a_kill_and_a_long_absence(
    events: RedisEvents, listener: EventListener, server: Redis
) -> None:
    await events.publish([event(0)])
    await listener.hears_numbers([0])
    await asyncio.to_thread(server.kill)
    await asyncio.sleep(1)
    await asyncio.to_thread(server.start)
    await asyncio.sleep(PAUSE_S)

    await events.publish([event(1)])

    await listener.hears_numbers([0, 1])


async def test_a_listener_survives_a_frozen_redis(
    events: RedisEvents, listener: EventListener, server: Redis
) -> None:
    await events.publish([event(0)])
    await listener.hears_numbers([0])
    await asyncio.to_thread(server.pause)
    with pytest.raises(CacheUnavailableError):
        await events.publish([event(404)])
    await asyncio.to_thread(server.resume)
    await asyncio.sleep(PAUSE_S)

    await events.publish([event(1)])
    await listener.hears_numbers([0, 404, 1])


async def test_a_listener_survives_a_flush(
    events: RedisEvents, listener: EventListener, console: redis.Redis
) -> None:
    await events.publish([event(0)])
    await listener.hears_numbers([0])
    console.flushall()

    await events.publish([event(1)])

    await listener.hears_numbers([0, 1])


async def test_a_listener_notices_that_ids_start_over(events: RedisEvents, console: redis.Redis) -> None:
    console.xadd("taskmill:events", {"e": "[]"}, id="99999999999999-0")
    async with EventListener(events) as listener:
        await asyncio.sleep(0.2)
        console.flushall()
        await listener.hears(events)
        await events.publish([event(1)])

        await listener.hears_numbers([1])


@pytest.mark.parametrize("field, value", [("x", "y"), ("e", "{"), ("e", "[[1,2]]"), ("e", "[7]"), ("e", "7")])
async def test_an_entry_that_is_not_ours_is_skipped(
    events: RedisEvents, listener: EventListener, console: redis.Redis, field: str, value: str
) -> None:
    console.xadd("taskmill:events", {field: value})
    await events.publish([event(1)])

    await listener.hears_numbers([1])


@pytest.mark.parametrize("batch", [1, 250])
async def test_the_stream_stays_within_its_bytes(server: Redis, console: redis.Redis, batch: int) -> None:
    events = RedisEvents(server.url, max_bytes=200_000)
    for _ in range(2500 // batch):
        await events.publish([event(number) for number in range(batch)])
    await events.close()

    taken = console.memory_usage("taskmill:events", samples=0)
    assert isinstance(taken, int)
    assert 120_000 < taken < 230_000


async def test_minutes_are_summed_by_the_clock_of_redis(cache: RedisCache, console: redis.Redis) -> None:
    seconds, _ = console.time()
    console.hset(f"taskmill:counts:{seconds // 60 - 3}", "default|submitted", "10")
    await cache.put([], [Count("default", "submitted", 1)])

    assert dict(await cache.counts(5)) == {("default", "submitted"): 11}
    assert dict(await cache.counts(1)) == {("default", "submitted"): 1}


async def test_everything_but_the_streams_expires(
    cache: RedisCache, events: RedisEvents, console: redis.Redis
) -> None:
    await cache.put([Entry(TASK_ID, 1, b"{}", 60)], [Count("default", "submitted", 1)])
    await events.publish([event(1)])
    await events.signal_cancel([TASK_ID])

    assert {key for key in console.scan_iter() if console.ttl(key) == -1} == {b"taskmill:events", b"taskmill:cancels"}
