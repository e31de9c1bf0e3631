"""What is told of moves, in which order, and in how many writes."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from shared.cache.base import Entry
from shared.cache.memory import MemoryCache
from shared.domain.task import TaskRecord
from shared.errors import CacheUnavailableError
from shared.events.base import Event
from shared.events.memory import MemoryEvents
from shared.news import News
from tests.records import task_record


class Witness(MemoryCache):
    """A cache that remembers what was written to it and to its events, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[list[tuple[Any, int]]] = []
        self.counted: list[tuple[str, str, int]] = []
        self.fault: Exception | None = None
        self.may_write = asyncio.Event()
        self.may_write.set()
        self.told = asyncio.Event()
        self.events = _WitnessedEvents(self)

    async def put(self, entries: Sequence[Entry], counts: Any = (), durations: Any = ()) -> None:
        await self.may_write.wait()
        if self.fault:
            raise self.fault
        self.counted += [tuple(count) for count in counts]
        self.writes.append([(entry.task_id, entry.version) for entry in entries])


class _WitnessedEvents(MemoryEvents):
    def __init__(self, witness: Witness) -> None:
        super().__init__()
        self._witness = witness

    async def publish(self, events: Sequence[Event]) -> None:
        self._witness.writes.append([(event.kind, event.data.get("version", 0)) for event in events])
        self._witness.told.set()


def news_of(witness: Witness) -> News:
    return News(witness, witness.events, result_ttl_s=60, failure_ttl_s=60)


def ended(task: TaskRecord) -> TaskRecord:
    return task._replace(status="succeeded", version=task.version + 1, finished_at=task.started_at)


async def test_the_document_is_there_before_the_event() -> None:
    witness, task = Witness(), task_record()

    await news_of(witness).tell([task])

    assert witness.writes == [[(task.id, 2)], [("status", 2)]]


async def test_an_attempt_that_is_soon_over_is_told_of_in_one_write() -> None:
    witness, task = Witness(), task_record()
    news = news_of(witness)

    news.offer([task], within_s=30)
    news.offer([ended(task)])
    await news.flushed()

    assert witness.writes == [[(task.id, 3)], [("status", 2), ("status", 3)]]
    assert witness.counted == [("default", "succeeded", 1)]


async def test_a_start_is_told_of_when_its_time_is_up() -> None:
    witness, task = Witness(), task_record()

    news_of(witness).offer([task], within_s=0.01)

    async with asyncio.timeout(10):
        await witness.told.wait()
    assert witness.writes == [[(task.id, 2)], [("status", 2)]]


async def test_a_start_waits_for_its_end_while_others_are_told_of() -> None:
    witness, task, other = Witness(), task_record(), task_record()
    news = news_of(witness)

    news.offer([task], within_s=30)
    news.offer([other])
    async with asyncio.timeout(10):
        await witness.told.wait()
    assert witness.writes == [[(other.id, 2)], [("status", 2)]]

    await news.tell([ended(task)])
    assert witness.writes[2:] == [[(task.id, 3)], [("status", 2), ("status", 3)]]


async def test_nothing_is_heard_of_a_task_before_its_start() -> None:
    witness, task = Witness(), task_record()
    news = news_of(witness)

    news.offer([task], within_s=30)
    news.offer([], before=[Event("log", task.id, task.type, task.queue, {"version": 0})])
    async with asyncio.timeout(10):
        await witness.told.wait()

    assert witness.writes == [[(task.id, 2)], [("status", 2), ("log", 0)]]


async def test_each_start_of_a_task_is_told_of() -> None:
    witness, task = Witness(), task_record()
    news = news_of(witness)

    news.offer([task], within_s=30)
    news.offer([task._replace(attempt=2, version=4)], within_s=30)
    await news.flushed()

    assert witness.writes == [[(task.id, 4)], [("status", 2), ("status", 4)]]


async def test_what_comes_during_a_write_is_told_by_the_next() -> None:
    witness, tasks = Witness(), [task_record() for _ in range(5)]
    news = news_of(witness)
    witness.may_write.clear()

    news.offer(tasks[:1])
    await asyncio.sleep(0)
    for task in tasks[1:]:
        news.offer([task])
    witness.may_write.set()
    await news.flushed()

    assert [len(write) for write in witness.writes] == [1, 1, 4, 4]


async def test_an_older_document_never_takes_the_place_of_a_newer_one() -> None:
    witness, task = Witness(), task_record()
    news = news_of(witness)

    news.offer([ended(task)], within_s=30)
    news.offer([task])
    await news.flushed()

    assert witness.writes[0] == [(task.id, 3)]


async def test_who_offers_more_than_is_written_waits() -> None:
    witness = Witness()
    news = news_of(witness)
    witness.may_write.clear()
    news.offer([task_record()])
    await asyncio.sleep(0)

    news.offer([task_record()] * 3_000)
    waiting = asyncio.create_task(news.keep_up())
    await asyncio.sleep(0.01)
    assert not waiting.done()

    witness.may_write.set()
    await asyncio.wait_for(waiting, 10)


@pytest.mark.parametrize("fault", [CacheUnavailableError("away"), ZeroDivisionError("a bug")])
async def test_a_write_that_fails_is_no_reason_to_fail_or_to_stop(fault: Exception) -> None:
    witness, task = Witness(), task_record()
    news = news_of(witness)
    witness.fault = fault
    await news.tell([task])

    witness.fault = None
    await news.tell([ended(task)])

    assert witness.writes[-2:] == [[(task.id, 3)], [("status", 3)]]


async def test_a_task_that_can_not_be_told_of_stops_nobody() -> None:
    witness, task = Witness(), task_record()
    news = news_of(witness)

    await news.tell([task_record(error="no JSON"), task])

    assert (task.id, 2) in witness.writes[0]
    assert witness.writes[1] == [("status", 2)]
