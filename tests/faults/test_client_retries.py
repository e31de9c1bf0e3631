"""The Python client, whose API is killed under it."""

import asyncio
from contextlib import aclosing
from functools import partial
from typing import Any

from client import AsyncTaskmill, NewTask, Retrying
from client.models import Accepted, BatchItem, Event
from tests.faults.stack import Stack

PATIENT = Retrying(repeats=200, first_s=0.1, longest_s=0.5)


async def test_no_submission_doubles_though_its_api_is_killed_again_and_again(stack: Stack) -> None:
    await stack.start()
    [api] = stack.apis
    url = stack.url
    accepted: list[Accepted | BatchItem] = []

    async def submit_some(taskmill: AsyncTaskmill) -> None:
        for _ in range(12):
            accepted.append(await taskmill.submit("trail.sleep"))
            new: list[NewTask] = [{"type": "trail.sleep"}] * 5
            accepted.extend(await taskmill.submit_many(new))

    def has_gone_on(submitting: asyncio.Future[Any], since: int) -> bool:
        return submitting.done() or len(accepted) >= since + 100

    async with AsyncTaskmill(url, retries=PATIENT) as taskmill:
        submitting = asyncio.gather(*(submit_some(taskmill) for _ in range(4)))
        while not submitting.done():
            await stack.until(partial(has_gone_on, submitting, len(accepted)), 60, "more to be accepted")
            api.kill()
            api.start()
        await submitting

    ids = {one.task_id for one in accepted}
    assert len(ids) == len(accepted) == 4 * 12 * 6
    assert not any(one.duplicate for one in accepted)
    assert await stack.fetch("SELECT count(*) FROM tasks WHERE type = 'trail.sleep'") == len(ids)


async def test_a_watcher_sees_the_end_of_a_task_though_its_api_is_killed(stack: Stack) -> None:
    await stack.start()
    [api] = stack.apis
    seen: list[Event] = []

    async with AsyncTaskmill(stack.url, retries=PATIENT) as taskmill:
        task_id = (await taskmill.submit("trail.sleep", {"seconds": 4})).task_id
        async with aclosing(taskmill.watch(task_id)) as events:
            async for event in events:
                seen.append(event)
                if len(seen) == 1:
                    api.kill()
                    api.start()
        result = await taskmill.result(task_id, timeout_s=30)

    assert seen[-1].data["status"] == "succeeded"
    assert result == 1
