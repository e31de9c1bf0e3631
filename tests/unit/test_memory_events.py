"""What is particular to the event stream in memory: it forgets, and its ids outlive the process."""

import asyncio
import time

import pytest

from shared.events.memory import MemoryEvents
from shared.events.position import Position
from tests.listening import EventListener, event, until


@pytest.fixture
def events() -> MemoryEvents:
    return MemoryEvents(max_events=10)


async def test_a_listener_that_keeps_up_hears_all_while_old_events_are_forgotten(events: MemoryEvents) -> None:
    async with EventListener(events) as listener:
        await listener.hears(events)
        for number in range(100):
            await events.publish([event(number)])
            await asyncio.sleep(0)

        await listener.hears_numbers(list(range(100)))


async def test_a_listener_that_falls_behind_goes_on_with_the_oldest_event(events: MemoryEvents) -> None:
    async with EventListener(events) as listener:
        await listener.hears(events)
        for number in range(100):
            await events.publish([event(number)])

        await until(lambda: 99 in listener.numbers)

    assert 10 <= len(listener.numbers) <= 20
    assert listener.numbers == list(range(listener.numbers[0], 100))


async def test_places_grow_while_old_events_are_forgotten(events: MemoryEvents) -> None:
    async with EventListener(events) as listener:
        await listener.hears(events)
        for number in range(100):
            await events.publish([event(number)])
            await asyncio.sleep(0)
        await until(lambda: 99 in listener.numbers)

    places = [Position.parse(heard.id) for heard in listener.heard]
    assert places == sorted(set(places))


async def test_an_id_of_an_earlier_process_means_the_oldest_event(events: MemoryEvents) -> None:
    await events.publish([event(1)])
    earlier = Position(time.time_ns() // 1_000_000 - 60_000, 500, 0)

    async with EventListener(events, after=str(earlier)) as listener:
        await listener.hears_numbers([1])


async def test_publishing_leaves_the_published_event_as_it_was(events: MemoryEvents) -> None:
    published = event(1)

    await events.publish([published])

    assert published.id == ""
