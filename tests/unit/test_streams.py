"""One reader of the event stream, many watchers."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from uuid import UUID

import pytest
import structlog.testing

from api_service import streams as streams_module
from api_service.streams import Streams
from shared.events.base import Batch, Event
from shared.events.memory import MemoryEvents
from shared.ids import new_task_id

LONG_S = 10.0
SHORT_S = 0.05


@pytest.fixture
def events() -> MemoryEvents:
    return MemoryEvents()


@pytest.fixture
async def streams(events: MemoryEvents) -> AsyncIterator[Streams]:
    made = Streams(events)
    made.start()
    await asyncio.sleep(0)
    yield made
    await made.close()


@pytest.fixture
def task_id() -> UUID:
    return new_task_id()


def event(task_id: UUID) -> Event:
    return Event("status", task_id, "demo.echo", "default", {})


async def test_a_watcher_is_woken_by_an_event(streams: Streams, events: MemoryEvents, task_id: UUID) -> None:
    async with streams.watch(task_id) as watch:
        waiting = asyncio.create_task(watch.changed(LONG_S))
        await asyncio.sleep(SHORT_S)
        assert not waiting.done()
        started = time.monotonic()

        await events.publish([event(task_id)])

        assert await waiting
        assert time.monotonic() - started < LONG_S


async def test_an_event_before_the_question_counts(streams: Streams, events: MemoryEvents, task_id: UUID) -> None:
    async with streams.watch(task_id) as watch:
        await events.publish([event(task_id), event(task_id)])
        await asyncio.sleep(SHORT_S)

        assert await watch.changed(0)
        assert not await watch.changed(SHORT_S)


async def test_nothing_happened_after_the_timeout(streams: Streams, task_id: UUID) -> None:
    async with streams.watch(task_id) as watch:
        started = time.monotonic()

        assert not await watch.changed(SHORT_S)

        assert time.monotonic() - started >= SHORT_S


async def test_another_task_wakes_nobody(streams: Streams, events: MemoryEvents, task_id: UUID) -> None:
    async with streams.watch(task_id) as watch:
        await events.publish([event(new_task_id())])

        assert not await watch.changed(SHORT_S)


async def test_what_happened_before_the_watch_does_not_count(
    streams: Streams, events: MemoryEvents, task_id: UUID
) -> None:
    await events.publish([event(task_id)])
    await asyncio.sleep(SHORT_S)

    async with streams.watch(task_id) as watch:
        assert not await watch.changed(SHORT_S)


async def test_all_watchers_of_a_task_are_woken(streams: Streams, events: MemoryEvents, task_id: UUID) -> None:
    async with AsyncExitStack() as stack:
        watches = [await stack.enter_async_context(streams.watch(task_id)) for _ in range(3000)]
        waiting = asyncio.gather(*(watch.changed(LONG_S) for watch in watches))
        await events.publish([event(task_id)])

        assert all(await waiting)


async def test_a_watch_that_ended_leaves_nothing_behind(
    streams: Streams, events: MemoryEvents, task_id: UUID
) -> None:
    async with streams.watch(task_id) as staying:
        async with streams.watch(task_id):
            pass
        await events.publish([event(task_id)])
        assert await staying.changed(LONG_S)
    with pytest.raises(RuntimeError):
        async with streams.watch(task_id):
            raise RuntimeError

    assert "tasks=0" in repr(streams)


async def test_close_ends_the_reader_while_somebody_watches(
    streams: Streams, events: MemoryEvents, task_id: UUID
) -> None:
    async with streams.watch(task_id) as watch:
        await streams.close()
        await events.publish([event(task_id)])

        assert not await watch.changed(SHORT_S)


async def test_streams_that_never_started_can_be_closed(events: MemoryEvents) -> None:
    await Streams(events).close()


class BrokenOnce(MemoryEvents):
    """Breaks after its first batch."""

    broke = False

    async def follow(self, after: str | None = None) -> AsyncIterator[Batch]:
        async for batch in super().follow(after):
            yield batch
            if not self.broke:
                self.broke = True
                raise RuntimeError("a bug")


async def test_a_reader_that_breaks_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch, task_id: UUID) -> None:
    monkeypatch.setattr(streams_module, "_PAUSE_S", SHORT_S)
    events = BrokenOnce()
    streams = Streams(events)
    streams.start()
    await asyncio.sleep(0)
    with structlog.testing.capture_logs() as logs:
        async with streams.watch(task_id) as watch:
            await events.publish([event(task_id)])
            assert await watch.changed(LONG_S)
            await events.publish([event(task_id)])
            assert await watch.changed(LONG_S)
    await streams.close()

    assert [log["event"] for log in logs] == ["following_broke"]


class Unreadable(Batch):
    """Breaks when it is looked at."""

    def __init__(self, end: str) -> None:
        super().__init__(end, list)

    def __iter__(self) -> Iterator[Event]:
        raise AssertionError("nobody listens")


class Scripted(MemoryEvents):
    """Gives one batch that nobody may look at, and then what is published."""

    async def follow(self, after: str | None = None) -> AsyncIterator[Batch]:
        yield Unreadable("7-7-7")
        async for batch in super().follow():
            yield batch


async def test_what_nobody_listens_to_is_not_read_but_was_there(task_id: UUID) -> None:
    events = Scripted()
    streams = Streams(events)
    streams.start()
    await asyncio.sleep(SHORT_S)

    place = await streams.place()
    async with streams.watch(task_id) as watch:
        await events.publish([event(task_id)])
        noticed = await watch.changed(LONG_S)
    await streams.close()

    assert str(place) == "7-7-7"
    assert noticed
