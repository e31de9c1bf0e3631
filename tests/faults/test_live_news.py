"""Those who watch a task hear how it ends, whatever dies meanwhile."""

import asyncio
from time import monotonic
from typing import Any

import httpx

from tests.faults.conftest import Report
from tests.faults.stack import Stack
from tests.live import Heard, Listening, listening


async def heard_until_cut(client: Listening, heard: list[Heard]) -> None:
    """Collect messages until the connection breaks."""
    try:
        heard += await client.rest()
    except httpx.HTTPError:
        return


def events_of(stack: Stack, task_id: str) -> str:
    return f"{stack.url}/tasks/{task_id}/events"


def versions(heard: list[Heard]) -> list[Any]:
    return [message.data["version"] for message in heard if "version" in message.data]


async def test_a_client_of_a_killed_api_goes_on_at_another_one_without_a_gap(
    stack: Stack, report_recovery: Report
) -> None:
    await stack.start(apis=2)
    victim, witness = stack.apis
    task_id = await stack.submit("demo.sleep", {"seconds": 6})
    path = f"/tasks/{task_id}/events"
    whole: list[Heard] = []
    heard: list[Heard] = []
    async with listening(stack.url_of(witness) + path) as watching:
        collecting = asyncio.create_task(heard_until_cut(watching, whole))
        async with listening(stack.url_of(victim) + path) as client:
            while len([message for message in heard if message.event == "progress"]) < 2:
                message = await client.next()
                assert message
                heard.append(message)
            victim.kill()
            killed_at = monotonic()
            await heard_until_cut(client, heard)
        await asyncio.sleep(1.5)  # what happens meanwhile is missed
        heir = await stack.start_api()
        async with listening(stack.url_of(heir) + path, after=heard[-1].id) as client:
            resumed = await client.rest()
        report_recovery("the stream went on to its end", killed_at)
        await collecting

    assert resumed[0].event != "snapshot"
    heard += resumed
    assert versions(heard) == sorted(set(versions(heard)))
    known = {message.id for message in heard}
    first_seen = [message.id for message in whole].index(heard[1].id)
    assert [message.id for message in whole[first_seen:] if message.id not in known] == []
    assert heard[-1].status == "succeeded"
    assert heard[-1].data == whole[-1].data
    await stack.audit()


async def test_who_watches_hears_the_end_though_redis_dies(stack: Stack, report_recovery: Report) -> None:
    await stack.start()
    ids = [await stack.submit("demo.sleep", {"seconds": 3}) for _ in range(3)]
    heard: list[Heard] = []
    async with listening(events_of(stack, ids[0])) as client:
        await client.until("progress")

        await asyncio.to_thread(stack.servers.redis.kill)
        killed_at = monotonic()
        heard = await client.rest()
        report_recovery("the end of the task was heard", killed_at)
        async with listening(events_of(stack, await stack.submit("demo.sleep", {"seconds": 1}))) as without:
            late = await without.rest()
    await asyncio.to_thread(stack.servers.redis.start)
    await stack.audit()

    assert heard[-1].status == late[-1].status == "succeeded"
    assert heard[-1].data["result"] == {"seconds": 3}
    assert versions(heard) == sorted(set(versions(heard)))
    assert late[0].event == "snapshot"


async def test_streams_go_on_when_redis_is_back_with_nothing_in_it(stack: Stack) -> None:
    await stack.start()
    redis = stack.servers.redis
    task_id = await stack.submit("demo.sleep", {"seconds": 600})
    async with listening(events_of(stack, task_id)) as client:
        await client.until("progress")
        await asyncio.to_thread(redis.kill)
        await asyncio.to_thread(redis.wipe)
        await asyncio.to_thread(redis.start)
        back = await stack.fetch(f"SELECT version FROM tasks WHERE id = '{task_id}'")
        while (await client.until("progress")).data["version"] <= back:
            pass
        await stack.client.delete(f"{stack.url}/tasks/{task_id}")
        rest = await client.rest()

    assert rest[-1].status == "cancelled"
    assert "Traceback" not in stack.apis[0].output()


async def test_a_stopping_api_lets_its_listeners_go_at_once(stack: Stack) -> None:
    await stack.start()
    [api] = stack.apis
    task_id = await stack.submit("demo.sleep", {"seconds": 600})
    async with listening(events_of(stack, task_id)) as client, listening(f"{stack.url}/events") as wide:
        await client.until("progress")

        took_s = await api.terminate()
        rest = await client.rest()
        await wide.rest()

    assert took_s < 8
    assert all(message.event in ("progress", "log") for message in rest)
    assert api.returncode() == 0
    heir = await stack.start_api()
    async with listening(f"{stack.url_of(heir)}/tasks/{task_id}/events") as client:
        await client.next()
        await stack.client.delete(f"{stack.url_of(heir)}/tasks/{task_id}")
        assert (await client.rest())[-1].status == "cancelled"
