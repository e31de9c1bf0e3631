"""What is particular to the cache in memory: its clock and its size."""

import pytest

from shared.cache.base import Cached, Count, Entry
from shared.cache.memory import MemoryCache
from shared.ids import new_task_id


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> MemoryCache:
    return MemoryCache(max_bytes=10_000, clock=clock, now=clock)


async def test_a_document_is_gone_after_its_time(cache: MemoryCache, clock: Clock) -> None:
    task_id = new_task_id()
    await cache.put([Entry(task_id, 1, b"{}", 10)])

    clock.now += 9.9
    assert await cache.get(task_id) == Cached(1, b"{}")
    clock.now += 0.2
    assert await cache.get(task_id) is None


async def test_the_document_put_longest_ago_goes_when_it_is_full(cache: MemoryCache) -> None:
    ids = [new_task_id() for _ in range(6)]
    for task_id in ids[:5]:
        await cache.put([Entry(task_id, 1, b"x" * 1500, 60)])
    await cache.put([Entry(ids[0], 2, b"x" * 1500, 60)])
    await cache.put([Entry(ids[5], 1, b"x" * 1500, 60)])

    assert [await cache.get(task_id) is not None for task_id in ids] == [True, False, True, True, True, True]


async def test_room_is_counted_right_when_documents_are_replaced(cache: MemoryCache, clock: Clock) -> None:
    task_id, other = new_task_id(), new_task_id()
    for version in range(50):
        await cache.put([Entry(task_id, version, b"x" * 4000, 60)])
    clock.now += 61
    assert await cache.get(task_id) is None
    await cache.put([Entry(task_id, 1, b"x" * 4000, 60), Entry(other, 1, b"x" * 4000, 60)])

    assert await cache.get(task_id)
    assert await cache.get(other)


async def test_a_document_larger_than_all_the_room_is_not_kept(cache: MemoryCache) -> None:
    task_id = new_task_id()
    await cache.put([Entry(task_id, 1, b"x" * 20_000, 60)])

    assert await cache.get(task_id) is None


async def test_minutes_are_counted_apart(cache: MemoryCache, clock: Clock) -> None:
    for _ in range(4):
        await cache.put([], [Count("default", "failed", 1)])
        clock.now += 60

    assert (await cache.counts(2))["default", "failed"] == 2
    assert (await cache.counts(10))["default", "failed"] == 4


async def test_minutes_of_yesterday_are_forgotten(cache: MemoryCache, clock: Clock) -> None:
    await cache.put([], [Count("default", "failed", 1)])
    clock.now += 24 * 3600
    await cache.put([], [Count("default", "failed", 1)])
    assert (await cache.counts(5000))["default", "failed"] == 2
    clock.now += 60
    await cache.put([], [Count("default", "failed", 1)])

    assert (await cache.counts(5000))["default", "failed"] == 2


async def test_a_minute_says_when_it_began(cache: MemoryCache, clock: Clock) -> None:
    await cache.put([], [Count("default", "failed", 1)])
    clock.now += 120
    await cache.put([], [Count("default", "failed", 1)])

    assert [minute.began_at for minute in await cache.minutes(5)] == [960, 1080]
