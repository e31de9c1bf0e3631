"""Redis forgets, hangs or goes away: everything goes on, and nobody sees a status go backwards."""

import asyncio
from statistics import median
from time import monotonic

from tests.faults.conftest import Report
from tests.faults.stack import FINAL, Stack
from tests.faults.traffic import Answer, Traffic
from tests.servers.proxy import Proxy


async def test_a_redis_that_forgets_hangs_or_dies_is_hardly_noticed(stack: Stack, report_recovery: Report) -> None:
    await stack.start()
    redis = stack.servers.redis

    async with Traffic(stack) as traffic:
        for _ in range(2):
            watched = await stack.submit_many(4, "demo.sleep", {"seconds": 3})
            await stack.until_all(watched, "running")
            async with asyncio.TaskGroup() as watching:
                for task_id in watched:
                    watching.create_task(_watch(stack, task_id))
                await asyncio.to_thread(redis.flush, redis.url)
                await traffic.more(5)
                redis.pause()
                await traffic.more(5)
                redis.resume()
                await traffic.more(5)
        await asyncio.to_thread(redis.kill)
        await traffic.more()
        cancelled = await stack.submit("demo.sleep", {"seconds": 600})
        await stack.until_status(cancelled, "running")
        await stack.client.delete(f"{stack.url}/tasks/{cancelled}")
        asked_at = monotonic()
        await stack.until_status(cancelled, "cancelled")
        report_recovery("a task was cancelled without Redis", asked_at)
        await asyncio.to_thread(redis.start)
        back_at = monotonic()
        await traffic.more()

    await stack.audit(expect={"succeeded": len(set(stack.accepted)) - 1, "cancelled": 1})
    report_recovery("all tasks were done", back_at)
    traffic.require_accepted()
    _require_quick(traffic.submissions)
    _require_quick(traffic.reads)


async def test_a_redis_that_hung_shows_no_old_status_when_it_is_back(stack: Stack) -> None:
    await stack.start()
    [api], [worker], redis = stack.apis, stack.workers, stack.servers.redis
    ids = await stack.submit_many(5, "trail.fail", {"times": 1}, max_attempts=1)
    await stack.until_all(ids, "failed")  # which Redis knows for half a minute now

    redis.pause()
    await stack.submit("demo.echo")
    await stack.until(lambda: "redis_lost" in api.output() and "redis_lost" in worker.output(), 30, "both to notice")
    for task_id in ids:
        await stack.retry(task_id)
    await stack.until_all(ids, "succeeded")
    redis.resume()

    await stack.until(lambda: _found_again(stack, ids), 30, "the API to use Redis again")
    await asyncio.gather(*map(stack.get, ids))
    await stack.audit()


async def _found_again(stack: Stack, ids: list[str]) -> bool:
    await asyncio.gather(*map(stack.get, ids))
    return "redis_found" in stack.apis[0].output()


async def test_a_worker_that_alone_has_lost_redis_shows_no_old_status(stack: Stack, report_recovery: Report) -> None:
    async with Proxy(stack.servers.redis_url) as line:
        await asyncio.gather(stack.start_api(), stack.start_worker(REDIS_URL=line.url))
        ids = await stack.submit_many(10, "demo.sleep", {"seconds": 2})
        await stack.until_all(ids, "running")

        await line.cut()
        cut_at = monotonic()
        waiting = [stack.get(task_id, wait=30) for task_id in ids[:5]]
        watching = [_watch(stack, task_id) for task_id in ids]
        await asyncio.gather(*waiting, *watching)
        for task_id in ids:
            assert (await stack.get(task_id))["status"] == "succeeded"
        report_recovery("every status was seen", cut_at)
        await line.heal()

        await stack.until_status(await stack.submit("demo.echo"), "succeeded")
        await stack.audit()


async def _watch(stack: Stack, task_id: str) -> None:
    """Read a task again and again until it is final: no answer may be older than the one before."""
    deadline = monotonic() + 60
    while (await stack.get(task_id))["status"] not in FINAL:
        assert monotonic() < deadline
        await asyncio.sleep(0.03)


def _require_quick(answers: list[Answer]) -> None:
    times = [answer.seconds for answer in answers]
    assert median(times) < 1.0
    assert max(times) < 6.0
