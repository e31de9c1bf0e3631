"""Everything dies in the same moment."""

import asyncio
from time import monotonic

from tests.faults.conftest import Report
from tests.faults.stack import Stack
from tests.faults.traffic import Traffic


async def test_what_was_accepted_outlives_a_power_cut(stack: Stack, report_recovery: Report) -> None:
    await stack.start()
    servers = (stack.servers.postgres, stack.servers.rabbitmq, stack.servers.redis)
    await stack.submit_many(10, "trail.sleep", {"seconds": 600, "only_first": True})  # run
    await stack.submit_many(30, "trail.sleep", {"seconds": 0.2})  # wait at the broker, or run
    delayed = await stack.submit_many(5, "trail.sleep", delay=5)

    async with Traffic(stack) as traffic:
        await traffic.more()
        traffic.give_up()
        for process in (*stack.apis, *stack.workers):
            process.kill()
    await asyncio.gather(*(asyncio.to_thread(server.kill) for server in servers))
    await asyncio.gather(*(asyncio.to_thread(server.start) for server in servers))
    back_at = monotonic()
    await stack.start()

    await stack.audit()
    report_recovery("all tasks were done", back_at)
    assert await stack.attempts(delayed) == {1: 5}
