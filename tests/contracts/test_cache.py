"""What every cache keeps its word on."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from uuid import UUID

import pytest

from shared.cache.base import Cache, Cached, Count, Duration, Entry, Minute
from shared.cache.memory import MemoryCache
from shared.cache.redis import RedisCache
from shared.ids import new_task_id
from tests.listening import PATIENCE_S


@pytest.fixture(params=["memory", "redis"])
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[Cache]:
    made: Cache = MemoryCache()
    if request.param == "redis":
        made = RedisCache(request.getfixturevalue("redis_url"))
    await made.open()
    yield made
    await made.close()


@pytest.fixture
def task_id() -> UUID:
    return new_task_id()


def entry(task_id: UUID, version: int, document: bytes | None = None, ttl_s: float = 60) -> Entry:
    return Entry(task_id, version, f"version {version}".encode() if document is None else document, ttl_s)


async def test_an_unknown_task_has_no_document(cache: Cache, task_id: UUID) -> None:
    assert await cache.get(task_id) is None


@pytest.mark.parametrize("document", [b"", b'{"status":"queued"}', bytes(range(256)), b"x" * 2_000_000])
async def test_a_document_comes_back_as_it_was(cache: Cache, task_id: UUID, document: bytes) -> None:
    await cache.put([entry(task_id, 7, document)])

    assert await cache.get(task_id) == Cached(7, document)


async def test_a_newer_version_replaces_an_older_one(cache: Cache, task_id: UUID) -> None:
    await cache.put([entry(task_id, 9)])
    await cache.put([entry(task_id, 10)])

    assert await cache.get(task_id) == Cached(10, b"version 10")


async def test_an_older_version_changes_nothing(cache: Cache, task_id: UUID) -> None:
    await cache.put([entry(task_id, 10)])
    await cache.put([entry(task_id, 9, ttl_s=0.001)])
    await asyncio.sleep(0.01)

    assert await cache.get(task_id) == Cached(10, b"version 10")


async def test_the_same_version_is_kept_anew(cache: Cache, task_id: UUID) -> None:
    await cache.put([entry(task_id, 3, ttl_s=0.05)])
    await cache.put([entry(task_id, 3, ttl_s=60)])
    await asyncio.sleep(0.1)

    assert await cache.get(task_id) == Cached(3, b"version 3")


async def test_the_newest_of_one_batch_is_kept(cache: Cache, task_id: UUID) -> None:
    await cache.put([entry(task_id, version) for version in (2, 11, 9, 1)])

    assert await cache.get(task_id) == Cached(11, b"version 11")


async def test_the_newest_of_many_writers_is_kept(cache: Cache, task_id: UUID) -> None:
    versions = random.sample(range(1, 100_000), 40)

    await asyncio.gather(*(cache.put([entry(task_id, version)]) for version in versions))

    kept = await cache.get(task_id)
    assert kept
    assert kept.version == max(versions)


async def test_a_large_batch_is_kept_whole(cache: Cache) -> None:
    batch = [entry(new_task_id(), number + 1) for number in range(1203)]

    await cache.put(batch)

    kept = await asyncio.gather(*(cache.get(put.task_id) for put in batch))
    assert kept == [Cached(put.version, put.document) for put in batch]


async def test_each_document_has_its_own_time_to_live(cache: Cache) -> None:
    brief, long = new_task_id(), new_task_id()
    await cache.put([entry(brief, 1, ttl_s=0.05), entry(long, 1, ttl_s=60)])

    async with asyncio.timeout(PATIENCE_S):
        while await cache.get(brief):  # noqa: ASYNC110 - Redis tells nobody
            await asyncio.sleep(0.01)

    assert await cache.get(long) == Cached(1, b"version 1")


async def test_a_document_that_is_gone_may_be_followed_by_an_older_one(cache: Cache, task_id: UUID) -> None:
    await cache.put([entry(task_id, 5, ttl_s=0.001)])
    await asyncio.sleep(0.05)
    await cache.put([entry(task_id, 4)])

    assert await cache.get(task_id) == Cached(4, b"version 4")


async def test_nothing_was_counted_at_first(cache: Cache) -> None:
    assert dict(await cache.counts(60)) == {}


async def test_counts_add_up_by_queue_and_by_what(cache: Cache) -> None:
    await cache.put([], [Count("default", "submitted", 2), Count("reports", "submitted", 1)])
    await cache.put([], [Count("default", "submitted", 3), Count("default", "submitted", 4)])
    await cache.put([], [Count("default", "succeeded", 5)])

    assert dict(await cache.counts(1)) == {
        ("default", "submitted"): 9,
        ("reports", "submitted"): 1,
        ("default", "succeeded"): 5,
    }


async def test_documents_and_counts_may_come_together(cache: Cache, task_id: UUID) -> None:
    await cache.put([entry(task_id, 1)], [Count("a.b-c_d", "failed", 1)])

    assert await cache.get(task_id) == Cached(1, b"version 1")
    assert dict(await cache.counts(1)) == {("a.b-c_d", "failed"): 1}


async def test_an_empty_put_is_allowed(cache: Cache) -> None:
    await cache.put([])

    assert dict(await cache.counts(1)) == {}


async def test_minutes_hold_counts_and_durations_apart(cache: Cache, task_id: UUID) -> None:
    took = [Duration("default", "waiting", 3, 2), Duration("a.b-c_d", "running", 128, 1)]
    began = time.time() // 60 * 60
    await cache.put([entry(task_id, 1)], [Count("default", "submitted", 2)], took)
    await cache.put([], [], [Duration("default", "waiting", 3, 5), Duration("default", "waiting", 0, 1)])

    found = await cache.minutes(1440)

    assert {minute.began_at for minute in found} <= {began, began + 60}
    assert _sum(found) == {
        ("default", "submitted"): 2,
        ("default", "waiting", 3): 7,
        ("default", "waiting", 0): 1,
        ("a.b-c_d", "running", 128): 1,
    }
    assert dict(await cache.counts(1)) == {("default", "submitted"): 2}


def _sum(minutes: Sequence[Minute]) -> dict[tuple[str | int, ...], int]:
    sums: Counter[tuple[str | int, ...]] = Counter()
    for minute in minutes:
        sums.update(minute.counts)
        for (queue, what), buckets in minute.durations.items():
            sums.update({(queue, what, bucket): number for bucket, number in buckets.items()})
    return dict(sums)


async def test_no_minute_is_told_of_in_which_nothing_happened(cache: Cache) -> None:
    assert list(await cache.minutes(1440)) == []


async def test_a_cache_that_is_there_answers_a_ping(cache: Cache) -> None:
    async with asyncio.timeout(1):
        await cache.ping()


async def test_an_inspection_says_what_it_is_and_how_full(cache: Cache, task_id: UUID) -> None:
    before = await cache.inspect()
    await cache.put([entry(task_id, 1, b"x" * 1_000_000)])

    after = await cache.inspect()

    assert after.product
    assert after.used_bytes > before.used_bytes
    assert after.clock is None or abs(after.clock - time.time()) < 60
