"""The cache and the event stream while Redis can't be reached, and afterwards."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID

import pytest
import structlog.testing

from shared.cache.base import Cached, Entry
from shared.cache.redis import RedisCache
from shared.errors import CacheUnavailableError
from shared.events import tail
from shared.events.redis import RedisEvents
from shared.ids import new_task_id
from tests.listening import PATIENCE_S, EventListener, event, until
from tests.servers.proxy import Proxy

AWAY = [pytest.param(Proxy.cut, id="cut"), pytest.param(Proxy.hang, id="hung")]
Break = Callable[[Proxy], Awaitable[None] | None]
TASK_ID = new_task_id()
CALLS: dict[str, Callable[[RedisCache], Awaitable[object]]] = {
    "put": lambda cache: cache.put([Entry(TASK_ID, 1, b"{}", 60)]),
    "get": lambda cache: cache.get(TASK_ID),
    "counts": lambda cache: cache.counts(1),
    "ping": lambda cache: cache.ping(),
}


@pytest.fixture
async def line(redis_url: str) -> AsyncIterator[Proxy]:
    async with Proxy(redis_url) as proxy:
        yield proxy


@pytest.fixture
async def cache(line: Proxy) -> AsyncIterator[RedisCache]:
    made = RedisCache(line.url)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def events(line: Proxy) -> AsyncIterator[RedisEvents]:
    """The stream by way of the line that is broken."""
    made = RedisEvents(line.url)
    yield made
    await made.close()


@pytest.fixture
async def others(redis_url: str) -> AsyncIterator[RedisEvents]:
    """The stream as it is seen by those whose line is in order."""
    made = RedisEvents(redis_url)
    yield made
    await made.close()


async def apply(damage: Break, line: Proxy) -> None:
    done = damage(line)
    if done is not None:
        await done


async def recovered(call: Callable[[], Awaitable[object]]) -> float:
    """Seconds until `call` works."""
    started = time.monotonic()
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await call()
            except CacheUnavailableError:
                await asyncio.sleep(0.02)
            else:
                return time.monotonic() - started


@pytest.mark.parametrize("damage", AWAY)
@pytest.mark.parametrize("call", CALLS)
async def test_a_call_fails_within_a_second_or_so(line: Proxy, cache: RedisCache, damage: Break, call: str) -> None:
    await apply(damage, line)
    started = time.monotonic()

    with pytest.raises(CacheUnavailableError):
        await CALLS[call](cache)

    assert time.monotonic() - started < 4


@pytest.mark.parametrize("damage", AWAY)
async def test_the_cache_comes_back_by_itself(line: Proxy, cache: RedisCache, damage: Break) -> None:
    await cache.put([Entry(TASK_ID, 1, b"{}", 60)])
    await apply(damage, line)
    with pytest.raises(CacheUnavailableError):
        await cache.get(TASK_ID)

    await line.heal()

    assert await recovered(lambda: cache.get(TASK_ID)) < 2
    assert await cache.get(TASK_ID) == Cached(1, b"{}")


async def test_a_cache_may_be_opened_before_redis_is_there(line: Proxy, redis_url: str) -> None:
    await line.cut()
    cache = RedisCache(line.url)

    await cache.open()
    await line.heal()

    assert await recovered(cache.ping) < 2
    await cache.close()


async def test_a_hung_redis_delays_one_caller_and_not_all(line: Proxy, cache: RedisCache) -> None:
    line.hang()
    await asyncio.gather(*(cache.ping() for _ in range(50)), return_exceptions=True)
    started = time.monotonic()
    waited = [asyncio.create_task(_time_of_refusal(cache)) for _ in range(50)]
    while time.monotonic() - started < 2.5:
        await asyncio.sleep(0.02)
        waited.append(asyncio.create_task(_time_of_refusal(cache)))

    slow = [seconds for seconds in await asyncio.gather(*waited) if seconds > 0.3]

    assert len(waited) > 100
    assert 1 <= len(slow) <= 3


async def test_a_hung_redis_is_sent_nothing_more(line: Proxy, cache: RedisCache) -> None:
    line.hang()
    with pytest.raises(CacheUnavailableError):
        await cache.ping()
    await asyncio.sleep(0.6)  # the pause after a failure
    with pytest.raises(CacheUnavailableError, match="does not answer"):
        await cache.put([Entry(TASK_ID, 1, b"{}", 60)])

    await line.heal()
    await recovered(cache.ping)
    await asyncio.sleep(0.3)

    assert await cache.get(TASK_ID) is None


async def test_a_crowd_of_callers_is_served(cache: RedisCache) -> None:
    answers = await asyncio.gather(*(cache.get(TASK_ID) for _ in range(3000)))

    assert answers == [None] * 3000


async def test_a_crowd_that_waits_for_a_hung_redis_is_sent_away_together(line: Proxy, cache: RedisCache) -> None:
    line.hang()
    started = time.monotonic()

    answers = await asyncio.gather(*(cache.get(TASK_ID) for _ in range(300)), return_exceptions=True)

    assert time.monotonic() - started < 6
    assert {type(answer) for answer in answers} == {CacheUnavailableError}


async def test_a_caller_who_gives_up_spoils_nothing_for_others(cache: RedisCache) -> None:
    ids = [new_task_id() for _ in range(30)]
    await cache.put([Entry(task_id, 1, task_id.bytes, 60) for task_id in ids])
    for _ in range(20):
        gone = [asyncio.create_task(cache.get(task_id)) for task_id in ids]
        await asyncio.sleep(0.001)
        for call in gone:
            call.cancel()

    async def is_right(task_id: UUID) -> bool:
        return await cache.get(task_id) == Cached(1, task_id.bytes)

    assert all(await asyncio.gather(*map(is_right, ids)))


@pytest.mark.parametrize("damage", AWAY)
async def test_publishing_fails_within_a_second_or_so(line: Proxy, events: RedisEvents, damage: Break) -> None:
    await events.open()
    await apply(damage, line)
    started = time.monotonic()

    with pytest.raises(CacheUnavailableError):
        await events.publish([event(1)])
    with pytest.raises(CacheUnavailableError):
        await events.signal_cancel([TASK_ID])

    assert time.monotonic() - started < 4


@pytest.mark.parametrize(
    "damage, absence_s",
    [
        pytest.param(Proxy.cut, 0.5, id="cut"),
        pytest.param(Proxy.hang, 4.5, id="hung"),  # longer than a read may take
    ],
)
async def test_a_listener_misses_nothing_while_it_is_cut_off(
    line: Proxy, events: RedisEvents, others: RedisEvents, damage: Break, absence_s: float
) -> None:
    with structlog.testing.capture_logs() as logs:
        async with EventListener(events) as listener:
            await listener.hears(others)
            await others.publish([event(0)])
            await apply(damage, line)
            for number in range(1, 20):
                await others.publish([event(number)])
            await asyncio.sleep(absence_s)
            await line.heal()
            await others.publish([event(20)])

            await listener.hears_numbers(list(range(21)))

    assert [log["event"] for log in logs] == ["stream_lost", "stream_found"]


async def test_a_listener_may_begin_before_redis_is_there(
    line: Proxy, events: RedisEvents, others: RedisEvents
) -> None:
    await line.cut()
    async with EventListener(events) as listener:
        await asyncio.sleep(0.3)
        await line.heal()
        await listener.hears(others)
        await others.publish([event(1)])

        await listener.hears_numbers([1])


@pytest.mark.parametrize("damage", AWAY)
async def test_close_ends_listeners_of_a_redis_that_is_away(
    line: Proxy, events: RedisEvents, others: RedisEvents, damage: Break
) -> None:
    async with EventListener(events) as placed, EventListener(events) as unplaced:
        await placed.hears(others)
        await apply(damage, line)
        await asyncio.sleep(0.3)
        started = time.monotonic()

        await events.close()

        assert await placed.ended() + await unplaced.ended() < 1.8
        assert time.monotonic() - started < 1.8


async def test_close_ends_a_listener_in_its_pause(
    line: Proxy, events: RedisEvents, others: RedisEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seconds in ("_FIRST_PAUSE_S", "_LONGEST_PAUSE_S", "_READ_S"):
        monkeypatch.setattr(tail, seconds, 60.0)
    with structlog.testing.capture_logs() as logs:
        async with EventListener(events) as listener:
            await listener.hears(others)
            await line.cut()
            await until(lambda: bool(logs))

            await events.close()

            assert await listener.ended() < 1.8


async def test_a_large_batch_that_hangs_half_way_is_given_up(line: Proxy, cache: RedisCache) -> None:
    line.hang()

    with pytest.raises(CacheUnavailableError):
        await cache.put([Entry(new_task_id(), 1, b"x" * 1_000_000, 60) for _ in range(30)])
    await cache.close()


async def _time_of_refusal(cache: RedisCache) -> float:
    started = time.monotonic()
    with pytest.raises(CacheUnavailableError):
        await cache.ping()
    return time.monotonic() - started
