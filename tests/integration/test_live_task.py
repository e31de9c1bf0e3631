"""The news of one task, over server-sent events."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from uuid import UUID

import httpx
import pytest

from shared.cache.memory import MemoryCache
from shared.cache.redis import RedisCache
from shared.domain.outcome import Outcome
from shared.domain.status import TaskStatus
from shared.events.base import Event, Events
from shared.events.memory import MemoryEvents
from shared.events.redis import RedisEvents
from shared.ids import new_task_id
from shared.store.lifecycle import Progress
from tests.api import WORKER, ApiUnderTest, open_api
from tests.builders import finish
from tests.listening import until
from tests.live import Heard, listening, serving

SUCCEEDED = Outcome(TaskStatus.SUCCEEDED, result='{"sum": 3}')


@pytest.fixture(params=["memory", "redis"])
async def api(request: pytest.FixtureRequest, module_database_url: str) -> AsyncIterator[ApiUnderTest]:
    cache: MemoryCache | RedisCache = MemoryCache()
    events: Events = MemoryEvents()
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
        cache, events = RedisCache(url), RedisEvents(url)
    await events.open()
    async with open_api(module_database_url, cache=cache, events=events) as opened:
        yield opened
    await events.close()
    await cache.close()


@pytest.fixture
async def memory_api(module_database_url: str) -> AsyncIterator[ApiUnderTest]:
    async with open_api(module_database_url, events=MemoryEvents(max_events=50)) as opened:
        yield opened


async def say(api: ApiUnderTest, task_id: UUID, *numbers: int) -> None:
    lines = [Event("log", task_id, "demo.echo", "default", {"event": "said", "number": n}) for n in numbers]
    await api.services.events.publish(lines)


async def progress(api: ApiUnderTest, task_id: UUID, done: int) -> None:
    text = f'{{"done":{done},"total":9,"percent":null,"message":"größer"}}'
    stored = await api.store.lifecycle.report_progress([Progress(task_id, 1, text)], worker=WORKER)
    await api.services.news.tell(stored, kind="progress")


def told(heard: list[Heard]) -> list[tuple[str, object]]:
    """What was told, in short."""
    short = {"status": "status", "snapshot": "status", "progress": "version", "log": "number"}
    return [(message.event, message.data[short[message.event]]) for message in heard]


def path(task_id: UUID) -> str:
    return f"/tasks/{task_id}/events"


async def test_a_task_is_followed_from_its_snapshot_to_its_document(api: ApiUnderTest) -> None:
    task_id = await api.submit()
    async with serving(api.app) as url, listening(url + path(task_id)) as client:
        first = await client.next()
        before = (await api.client.get(f"/tasks/{task_id}")).json()
        await api.claim(task_id)
        await progress(api, task_id, 1)
        await say(api, task_id, 1, 2)
        await api.finish(task_id, SUCCEEDED)
        rest = await client.rest()
        headers = client.answer.headers
    document = (await api.client.get(f"/tasks/{task_id}")).json()

    assert first
    assert (first.event, first.data) == ("snapshot", before)
    assert told(rest) == [
        ("status", "running"), ("progress", 3), ("log", 1), ("log", 2), ("status", "succeeded")
    ]  # fmt: skip
    assert rest[0].data["attempt"] == 1
    assert rest[0].data["version"] == 2
    assert rest[0].data["worker"] == WORKER
    assert rest[1].data["progress"]["done"] == 1
    assert rest[1].data["progress"]["message"] == "größer"
    assert {name: message.data[name] for name in ("task_id", "type", "queue") for message in rest} == {
        "task_id": str(task_id), "type": "demo.echo", "queue": "default"
    }  # fmt: skip
    assert rest[-1].data == {**document, "version": 4}
    assert len({message.id for message in (first, *rest)}) == 6
    assert headers["content-type"].startswith("text/event-stream")
    assert headers["cache-control"] == "no-store"
    assert headers["x-accel-buffering"] == "no"
    assert headers["x-request-id"]


async def test_a_task_that_is_done_is_shown_and_the_stream_ends(api: ApiUnderTest) -> None:
    task_id = await api.submit()
    await api.run(task_id, '"done"')

    async with serving(api.app) as url, listening(url + path(task_id)) as client:
        heard = await client.rest()

    assert told(heard) == [("snapshot", "succeeded")]
    assert heard[0].data["result"] == "done"


async def test_a_task_that_waits_is_told_of_when_it_is_cancelled(api: ApiUnderTest) -> None:
    task_id = await api.submit(delay=3600)
    async with serving(api.app) as url, listening(url + path(task_id)) as client:
        first = await client.next()
        await api.client.delete(f"/tasks/{task_id}")
        rest = await client.rest()

    assert first
    assert told([first, *rest]) == [("snapshot", "scheduled"), ("status", "cancelled")]


@pytest.mark.parametrize("name", ["01990000-0000-7000-8000-000000000000", "not-an-id", "%00", "💥"])
async def test_an_unknown_task_has_no_stream(memory_api: ApiUnderTest, name: str) -> None:
    answer = await memory_api.client.get(f"/tasks/{name}/events")

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


# Resuming ...............................................................................


async def a_run(api: ApiUnderTest, url: str) -> tuple[UUID, list[Heard]]:
    """A task that has run, and everything that one client heard of it."""
    task_id = await api.submit()
    async with listening(url + path(task_id)) as client:
        first = await client.next()
        assert first
        await api.claim(task_id)
        await say(api, task_id, 1)
        await progress(api, task_id, 2)
        await say(api, task_id, 2, 3, 4)
        await api.finish(task_id, SUCCEEDED)
        return task_id, [first, *await client.rest()]


async def test_a_client_goes_on_after_any_message_with_nothing_lost_or_doubled(api: ApiUnderTest) -> None:
    async with serving(api.app) as url:
        await api.run(await api.submit())
        task_id, whole = await a_run(api, url)
        for heard in range(len(whole) - 1):
            async with listening(url + path(task_id), after=whole[heard].id) as client:
                assert await client.rest() == whole[heard + 1 :]
        async with listening(url + path(task_id), after=whole[-1].id) as client:
            nothing = await client.rest()

    assert client.answer.status_code == 204
    assert nothing == []


async def test_the_place_may_stand_in_the_query_for_browsers(api: ApiUnderTest) -> None:
    async with serving(api.app) as url:
        task_id, whole = await a_run(api, url)
        address = f"{url}{path(task_id)}?last_event_id="
        async with listening(address + whole[3].id) as client:
            from_query = await client.rest()
        async with listening(address + whole[1].id, after=whole[4].id) as client:
            from_header = await client.rest()

    assert from_query == whole[4:]
    assert from_header == whole[5:]


async def test_a_client_goes_on_while_the_task_does(api: ApiUnderTest) -> None:
    task_id = await api.submit()
    async with serving(api.app) as url:
        async with listening(url + path(task_id)) as client:
            await client.next()
            await api.claim(task_id)
            running = await client.until("status", status="running")
        await say(api, task_id, 1)
        async with listening(url + path(task_id), after=running.id) as client:
            missed = await client.next()
            await say(api, task_id, 2)
            await api.finish(task_id, SUCCEEDED)
            rest = await client.rest()

    assert missed
    assert told([missed, *rest]) == [("log", 1), ("log", 2), ("status", "succeeded")]


async def test_what_fell_off_the_end_is_made_up_for_by_a_snapshot(memory_api: ApiUnderTest) -> None:
    api = memory_api
    task_id = await api.submit()
    async with serving(api.app) as url:
        async with listening(url + path(task_id)) as client:
            first = await client.next()
        assert first
        await api.claim(task_id)
        await say(api, new_task_id(), *range(200))
        await say(api, task_id, 7)
        async with listening(url + path(task_id), after=first.id) as client:
            heard = [await client.next(), await client.next()]
            await api.finish(task_id, SUCCEEDED)
            heard += await client.rest()

    assert told([message for message in heard if message]) == [
        ("snapshot", "running"), ("log", 7), ("status", "succeeded")
    ]  # fmt: skip


async def test_a_place_of_an_earlier_process_begins_with_a_snapshot(memory_api: ApiUnderTest) -> None:
    task_id = await memory_api.submit()
    await memory_api.run(task_id)
    async with serving(memory_api.app) as url:
        for place in ("1719900000000-5-0.2", "0-0-0", "99999999999999-0-0.1"):
            async with listening(url + path(task_id), after=place) as client:
                heard = await client.rest()
            assert told(heard) == [("snapshot", "succeeded")]


async def test_whatever_is_no_place_begins_with_a_snapshot(memory_api: ApiUnderTest) -> None:
    task_id = await memory_api.submit()
    await memory_api.run(task_id)
    chance = random.Random(7)
    odd = [b"", b"0", b"-", b"1-2-3.", b"1-2-3.99999999999", b"9" * 500, b"1-2-3.4\x7f", "٣-1-1.1".encode()]
    odd += [bytes(chance.choices([*range(32, 127), *range(128, 256)], k=chance.randrange(40))) for _ in range(60)]

    for value in odd:
        for answer in (
            await memory_api.client.get(path(task_id), headers={b"Last-Event-ID": value.strip()}),
            await memory_api.client.get(path(task_id), params={"last_event_id": value}),
        ):
            assert answer.status_code == 200, value
            assert "event: snapshot" in answer.text, value


async def test_a_place_of_another_task_begins_with_a_snapshot(memory_api: ApiUnderTest) -> None:
    task_id = await memory_api.submit()
    await memory_api.run(task_id)
    end = await memory_api.services.events.end()

    answer = await memory_api.client.get(path(task_id), headers={"Last-Event-ID": f"{end}.77"})

    assert "event: snapshot" in answer.text


async def test_a_second_replica_and_a_restarted_one_go_on_where_the_first_was(
    module_database_url: str, redis_url: str
) -> None:
    async with _replica(module_database_url, redis_url) as first, serving(first.app) as url:
        task_id = await first.submit()
        async with listening(url + path(task_id)) as client:
            await client.next()
            await first.claim(task_id)
            running = await client.until("status", status="running")
        async with _replica(module_database_url, redis_url) as second, serving(second.app) as other_url:
            await say(second, task_id, 1)
            async with listening(other_url + path(task_id), after=running.id) as client:
                line = await client.until("log", number=1)
    async with _replica(module_database_url, redis_url) as restarted, serving(restarted.app) as url:
        await say(restarted, task_id, 2)
        async with listening(url + path(task_id), after=line.id) as client:
            missed = await client.next()
            await restarted.finish(task_id, SUCCEEDED)
            rest = await client.rest()

    assert missed
    assert told([missed, *rest]) == [("log", 2), ("status", "succeeded")]


def _replica(database_url: str, redis_url: str) -> AbstractAsyncContextManager[ApiUnderTest]:
    return open_api(database_url, cache=RedisCache(redis_url), events=RedisEvents(redis_url))


# Trouble ................................................................................


async def test_what_the_event_stream_has_lost_is_looked_up(api: ApiUnderTest) -> None:
    task_id = await api.submit()
    async with serving(api.app) as url, listening(url + path(task_id)) as client:
        first = await client.next()
        await api.claim(task_id)
        await client.until("status", status="running")
        await finish(api.store, task_id, SUCCEEDED, worker=WORKER)
        [end] = await client.rest()

    assert first
    assert end.status == "succeeded"
    assert end.data["result"] == {"sum": 3}
    assert end.data["version"] == 3


async def test_what_comes_late_or_twice_is_told_once(api: ApiUnderTest) -> None:
    task_id = await api.submit()
    async with serving(api.app) as url, listening(url + path(task_id)) as client:
        await client.next()
        running = await api.claim(task_id)
        await api.services.news.tell([running])
        await progress(api, task_id, 1)
        await api.services.news.tell([running])
        await api.finish(task_id, SUCCEEDED)
        rest = await client.rest()

    assert told(rest) == [("status", "running"), ("progress", 3), ("status", "succeeded")]


async def test_a_client_that_leaves_leaves_nothing_behind(memory_api: ApiUnderTest) -> None:
    task_id = await memory_api.submit()
    async with serving(memory_api.app) as url:
        async with listening(url + path(task_id)) as client, listening(f"{url}/events") as other:
            await client.next()
            assert "feeds=2" in repr(memory_api.services.streams)
            assert other.answer.status_code == 200

        await until(lambda: "tasks=0 feeds=0" in repr(memory_api.services.streams))


async def test_streams_end_when_the_process_stops(memory_api: ApiUnderTest) -> None:
    task_id = await memory_api.submit()
    async with httpx.AsyncClient(timeout=30) as http:
        async with serving(memory_api.app) as url:
            streams = [
                asyncio.create_task(http.get(f"{url}{address}"))
                for address in (path(task_id), "/events")
                for _ in "ab"
            ]
            await until(lambda: "feeds=4" in repr(memory_api.services.streams))
        answers = await asyncio.gather(*streams)

    assert [answer.status_code for answer in answers] == [200] * 4
    assert "event: snapshot" in answers[0].text


async def test_a_renewed_task_is_followed_on(api: ApiUnderTest) -> None:
    task_id = await api.submit()
    await api.fail(task_id)
    async with serving(api.app) as url:
        await api.client.post(f"/tasks/{task_id}/retry")
        async with listening(url + path(task_id)) as client:
            first = await client.next()
            await api.claim(task_id, attempt=2)
            await api.finish(task_id, SUCCEEDED, attempt=2)
            rest = await client.rest()
        assert first
        async with listening(url + path(task_id), after=first.id) as client:
            again = await client.rest()

    assert told([first, *rest]) == [("snapshot", "queued"), ("status", "running"), ("status", "succeeded")]
    assert again == rest
