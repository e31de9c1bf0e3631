"""The news of all tasks."""

import random
from collections.abc import AsyncIterator

import pytest

from shared.cache.memory import MemoryCache
from shared.errors import CacheUnavailableError
from shared.events.base import Event, Events
from shared.events.memory import MemoryEvents
from shared.events.redis import RedisEvents
from shared.ids import new_task_id
from tests.api import SUM, ApiUnderTest, open_api, pointers
from tests.live import Listening, listening, serving


@pytest.fixture(params=["memory", "redis"])
async def api(request: pytest.FixtureRequest, module_database_url: str) -> AsyncIterator[ApiUnderTest]:
    events: Events = MemoryEvents(max_events=100)
    if request.param == "redis":
        events = RedisEvents(request.getfixturevalue("redis_url"), max_bytes=50_000)
    await events.open()
    async with open_api(module_database_url, events=events) as opened:
        yield opened
    await events.close()


@pytest.fixture
async def url(api: ApiUnderTest) -> AsyncIterator[str]:
    async with serving(api.app) as address:
        yield address


async def say(api: ApiUnderTest, *numbers: int, queue: str = "default", type_: str = "demo.echo") -> None:
    await api.services.events.publish([Event("log", new_task_id(), type_, queue, {"number": n}) for n in numbers])


async def heard_numbers(client: Listening, number: int) -> list[object]:
    return [heard.data["number"] for _ in range(number) if (heard := await client.next())]


async def test_all_tasks_are_told_of(api: ApiUnderTest, url: str) -> None:
    async with listening(f"{url}/events") as client:
        place = await client.next(comments=True)
        ids = [await api.submit(), await api.submit(SUM.name, payload={"n": 1})]
        for task_id in ids:
            await api.run(task_id, "1")
        heard = [await client.next() for _ in range(4)]

    assert place
    assert place.id
    assert [(each.data["task_id"], each.status, each.data["queue"]) for each in heard if each] == [
        (str(ids[0]), "running", "default"),
        (str(ids[0]), "succeeded", "default"),
        (str(ids[1]), "running", "numbers"),
        (str(ids[1]), "succeeded", "numbers"),
    ]
    assert heard[1]
    assert "result" not in heard[1].data


async def test_a_client_hears_of_the_queue_and_type_it_asked_for(api: ApiUnderTest, url: str) -> None:
    async with (
        listening(f"{url}/events?queue=numbers") as by_queue,
        listening(f"{url}/events?queue=&type=demo.sum") as by_type,
    ):
        for client in (by_queue, by_type):
            await client.next(comments=True)
        await say(api, 1)
        await say(api, 2, queue="numbers")
        await say(api, 3, type_="demo.sum")
        await say(api, 4, queue="numbers", type_="demo.sum")

        assert await heard_numbers(by_queue, 2) == [2, 4]
        assert await heard_numbers(by_type, 2) == [3, 4]


async def test_a_client_goes_on_with_nothing_lost_or_doubled(api: ApiUnderTest, url: str) -> None:
    async with listening(f"{url}/events") as client:
        place = await client.next(comments=True)
        await say(api, *range(30))
        whole = [await client.next() for _ in range(30)]
    assert place
    for after in (place, *[heard for heard in whole[::7] if heard]):
        async with listening(f"{url}/events", after=after.id) as client:
            known = whole.index(after) + 1 if after in whole else 0
            assert [await client.next() for _ in whole[known:]] == whole[known:]
            await say(api, 99)
            assert await heard_numbers(client, 1) == [99]


async def test_what_can_not_be_told_again_is_a_gap(api: ApiUnderTest, url: str) -> None:
    async with listening(f"{url}/events") as client:
        place = await client.next(comments=True)
    assert place
    for number in range(1000):
        await say(api, number)

    async with listening(f"{url}/events", after=place.id) as client:
        gap = await client.next()
        first = await client.next()
        numbers = [first.data["number"]] if first else []
        while numbers[-1] != 999:
            numbers += await heard_numbers(client, 1)

    assert gap
    assert gap.event == "gap"
    assert numbers[0] > 1
    assert numbers == list(range(numbers[0], 1000))


@pytest.mark.parametrize("query", ["queue=UPPER", "queue=%00", "type=%00", "queue=" + "x" * 65, "type=" + "x" * 201])
async def test_odd_filters_are_refused(api: ApiUnderTest, query: str) -> None:
    answer = await api.client.get(f"/events?{query}")

    assert pointers(answer) == [f"?{query.partition('=')[0]}"]


async def test_random_places_begin_with_what_is_new(api: ApiUnderTest, url: str) -> None:
    chance = random.Random(5)
    for _ in range(10):
        junk = "".join(chr(chance.randrange(33, 127)) for _ in range(chance.randrange(30)))
        async with listening(f"{url}/events", after=junk) as client:
            await client.next(comments=True)
            await say(api, 7)

            assert await heard_numbers(client, 1) == [7]


class EventsAway(MemoryEvents):
    """Can be read, but neither placed nor replayed."""

    async def end(self) -> str:
        raise CacheUnavailableError("cut")

    def replay(self, start: str) -> AsyncIterator[list[Event]]:
        return self._fail()

    async def _fail(self) -> AsyncIterator[list[Event]]:
        raise CacheUnavailableError("cut")
        yield []


async def test_without_redis_streams_begin_all_the_same(module_database_url: str) -> None:
    async with (
        open_api(module_database_url, cache=MemoryCache(), events=EventsAway()) as api,
        serving(api.app) as url,
    ):
        task_id = await api.submit()
        async with listening(f"{url}/events", after="1719900000000-0-0") as wide:
            gap = await wide.next()
        async with listening(f"{url}/tasks/{task_id}/events", after="1719900000000-0-0.1") as client:
            first = await client.next()
            await api.run(task_id)
            rest = await client.rest()

    assert gap
    assert first
    assert (gap.event, first.event, first.id) == ("gap", "snapshot", "")
    assert [each.status for each in rest] == ["running", "succeeded"]
