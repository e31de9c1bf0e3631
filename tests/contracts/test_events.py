"""What every event stream keeps its word on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from uuid import UUID

import pytest

from shared.events.base import MARK, Event, Events
from shared.events.memory import MemoryEvents
from shared.events.position import Position
from shared.events.redis import RedisEvents
from shared.ids import new_task_id
from tests.listening import EventListener, Listener, event, until

BEYOND_THE_END = "99999999999999-0-0"


@pytest.fixture(params=["memory", "redis"])
def make_events(request: pytest.FixtureRequest) -> Callable[[], Events]:
    """Makes streams that keep little."""
    if request.param == "memory":
        return lambda: MemoryEvents(max_events=200)
    url: str = request.getfixturevalue("redis_url")
    return lambda: RedisEvents(url, max_bytes=50_000)


@pytest.fixture
async def events(make_events: Callable[[], Events]) -> AsyncIterator[Events]:
    made = make_events()
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def listener(events: Events) -> AsyncIterator[EventListener]:
    async with EventListener(events) as listening:
        yield await listening.hears(events)


async def test_an_event_comes_as_it_was_published(events: Events, listener: EventListener) -> None:
    data = {"status": "failed", "error": {"message": "größer\n'\"\\"}, "list": [1, 2.5, None, True], "large": 2**63}
    published = Event("status", new_task_id(), "demo.fail", "reports", data)

    await events.publish([published])
    await until(lambda: listener.heard[-1].kind == "status")

    heard = listener.heard[-1]
    assert (heard.kind, heard.task_id, heard.type) == (published.kind, published.task_id, published.type)
    assert (heard.queue, heard.data) == (published.queue, published.data)
    assert heard.id


async def test_events_come_in_order_across_batches(events: Events, listener: EventListener) -> None:
    for start, size in ((0, 1), (1, 120), (121, 2), (123, 30)):
        await events.publish([event(number) for number in range(start, start + size)])

    await listener.hears_numbers(list(range(153)))


async def test_an_empty_batch_is_nothing(events: Events, listener: EventListener) -> None:
    await events.publish([])
    await events.publish([event(1)])

    await listener.hears_numbers([1])


async def test_who_comes_later_hears_nothing_earlier(events: Events) -> None:
    await events.publish([event(1)])
    async with EventListener(events) as listener:
        await listener.hears(events)
        await events.publish([event(2)])

        await listener.hears_numbers([2])


async def test_all_listeners_hear_everything(events: Events, listener: EventListener) -> None:
    async with EventListener(events) as second:
        await second.hears(events)
        await events.publish([event(number) for number in range(50)])

        await listener.hears_numbers(list(range(50)))
        await second.hears_numbers(list(range(50)))


async def test_a_listener_goes_on_just_after_any_event(events: Events, listener: EventListener) -> None:
    for batch in (range(4), range(4, 5), range(5, 130)):
        await events.publish([event(number) for number in batch])
    await listener.hears_numbers(list(range(130)))

    for number in (0, 1, 3, 4, 5, 6, 60, 103, 104, 105, 106, 128):
        (heard,) = [heard for heard in listener.heard if heard.data.get("number") == number]
        async with EventListener(events, after=heard.id) as resumed:
            await resumed.hears_numbers(list(range(number + 1, 130)))


async def test_ids_are_unique(events: Events, listener: EventListener) -> None:
    await events.publish([event(number) for number in range(100)])
    await events.publish([event(number) for number in range(100)])
    await until(lambda: len(listener.numbers) == 200)

    assert len({heard.id for heard in listener.heard}) == len(listener.heard)


async def test_an_id_that_fell_off_the_end_means_the_oldest_event(events: Events, listener: EventListener) -> None:
    await events.publish([event(0)])
    await listener.hears_numbers([0])
    fallen = listener.heard[-1].id
    for number in range(1, 1001):
        await events.publish([event(number)])

    async with EventListener(events, after=fallen) as late:
        await until(lambda: 1000 in late.numbers)

    assert 1 < late.numbers[0] < 1000
    assert late.numbers == list(range(late.numbers[0], 1001))


async def test_an_id_beyond_the_end_means_what_comes(events: Events) -> None:
    await events.publish([event(1)])

    async with EventListener(events, after=BEYOND_THE_END) as listener:
        await listener.hears(events)
        await events.publish([event(2)])

        await listener.hears_numbers([2])


@pytest.mark.parametrize(
    "malformed",
    [
        "",
        "1",
        "1-1",
        "1-1-",
        "-1-1-1",
        "1-1-1-1",
        "a-1-1",
        "1-1-1 ",
        "1-1-1\n",
        "٣-1-1",
        f"{2**64}-1-1",
        "$",
        "1" * 500,
    ],
)
async def test_a_malformed_id_is_refused(events: Events, malformed: str) -> None:
    with pytest.raises(ValueError, match="not the id of an event"):
        events.follow(after=malformed)


async def test_a_slow_listener_holds_up_nobody(events: Events, listener: EventListener) -> None:
    slow = events.follow(after=listener.heard[0].id)
    await events.publish([event(0)])
    await anext(aiter(slow))
    async with asyncio.timeout(30):
        for number in range(1, 1001):
            await events.publish([event(number)])

    await until(lambda: 1000 in listener.numbers)


async def replayed(events: Events, start: str) -> list[Event]:
    return [single async for batch in events.replay(start) for single in batch]


async def test_a_replay_begins_with_the_batch_and_comes_to_an_end(events: Events, listener: EventListener) -> None:
    for batch in (range(1), range(1, 4), range(4, 150)):
        await events.publish([event(number) for number in batch])
    await listener.hears_numbers(list(range(150)))

    for number in (0, 2, 3, 60, 149):
        (heard,) = [heard for heard in listener.heard if heard.data.get("number") == number]
        again = await replayed(events, heard.id)
        numbers = [single.data["number"] for single in again]
        assert heard in again
        assert numbers == list(range(numbers[0], 150))
        assert Position.parse(again[0].id)[:2] == Position.parse(heard.id)[:2]


async def test_what_fell_off_the_end_is_missed_by_its_batch(events: Events, listener: EventListener) -> None:
    await events.publish([event(0)])
    await listener.hears_numbers([0])
    fallen = listener.heard[-1].id
    for number in range(1, 1001):
        await events.publish([event(number)])

    again = await replayed(events, fallen)

    assert again[-1].data["number"] == 1000
    assert Position.parse(again[0].id)[:2] > Position.parse(fallen)[:2]


async def test_the_end_divides_what_is_there_from_what_comes(events: Events, listener: EventListener) -> None:
    await events.publish([event(number) for number in range(3)])
    await listener.hears_numbers([0, 1, 2])
    end = await events.end()
    await events.publish([event(3)])
    await listener.hears_numbers([0, 1, 2, 3])

    after = [single for single in await replayed(events, end) if Position.parse(single.id) > Position.parse(end)]

    assert [single.data["number"] for single in after] == [3]


async def test_an_empty_stream_has_an_end_too(events: Events) -> None:
    end = await events.end()
    await events.publish([event(1)])

    mark, after = await replayed(events, end)

    assert mark.kind == MARK
    assert Position.parse(mark.id) <= Position.parse(end) < Position.parse(after.id)
    assert Position.parse(mark.id)[:2] == Position.parse(end)[:2]


@pytest.mark.parametrize("start", ["0-0-0", BEYOND_THE_END, f"{2**64 - 1}-{2**64 - 1}-999999999"])
async def test_any_place_can_be_replayed_from(events: Events, start: str) -> None:
    await events.publish([event(1)])

    again = await replayed(events, start)

    assert [single.data["number"] for single in again] == ([1] if start == "0-0-0" else [])


async def test_a_replay_of_what_is_no_place_is_refused(events: Events) -> None:
    with pytest.raises(ValueError, match="not the id of an event"):
        events.replay("1-1")


async def test_close_ends_those_who_listen(make_events: Callable[[], Events]) -> None:
    events = make_events()
    async with AsyncExitStack() as stack:
        listeners = [await stack.enter_async_context(EventListener(events)) for _ in range(3)]
        signals = await stack.enter_async_context(Listener(events.cancel_signals()))
        for listener in listeners:
            await listener.hears(events)

        await events.close()

        assert await signals.ended() < 1
        for listener in listeners:
            assert await listener.ended() < 1


async def test_who_listens_after_close_hears_the_end(make_events: Callable[[], Events]) -> None:
    events = make_events()
    await events.close()

    async with EventListener(events) as listener, Listener(events.cancel_signals()) as signals:
        assert await listener.ended() < 1
        assert await signals.ended() < 1


async def test_cancel_signals_reach_everybody_in_order(events: Events) -> None:
    cancelled = [new_task_id() for _ in range(300)]
    async with Listener(events.cancel_signals()) as first, Listener(events.cancel_signals()) as second:
        for listener in (first, second):
            await _hears_signals(listener, events)

        await events.signal_cancel(cancelled[:1])
        await events.signal_cancel([])
        await events.signal_cancel(cancelled[1:])

        await until(lambda: first.heard[-1] == second.heard[-1] == cancelled[-1])
        assert [signal for signal in first.heard if signal in set(cancelled)] == cancelled
        assert [signal for signal in second.heard if signal in set(cancelled)] == cancelled


async def _hears_signals(listener: Listener[UUID], events: Events) -> None:
    async with asyncio.timeout(10):
        while not listener.heard:
            await events.signal_cancel([new_task_id()])
            await asyncio.sleep(0.01)
