"""An API dies at the worst moment."""

import asyncio
from time import monotonic

from tests.faults.conftest import Report
from tests.faults.stack import Stack
from tests.faults.traffic import Traffic


async def test_every_202_of_a_killed_api_is_honoured_and_no_repeat_doubles(
    stack: Stack, report_recovery: Report
) -> None:
    await stack.start(apis=2)
    first, second = stack.apis

    async with Traffic(stack, clients=6) as traffic:
        await traffic.more()
        first.kill()
        await traffic.more()
        await stack.start_api()
        second.kill()
        killed_at = monotonic()
        await traffic.more()

    await stack.audit()
    report_recovery("all tasks were done", killed_at)
    assert await stack.fetch("SELECT count(*) FROM tasks") == len(traffic.promised) == len(set(stack.accepted))


async def test_tasks_run_though_their_api_died_before_it_rang(stack: Stack, report_recovery: Report) -> None:
    await stack.start(RECONCILE_AFTER_SECONDS="3600")  # the outbox alone must do
    [victim] = stack.apis

    stack.servers.rabbitmq.pause()
    await stack.submit_many(20, "trail.sleep")
    victim.kill()
    stack.servers.rabbitmq.resume()
    resumed_at = monotonic()
    await asyncio.gather(stack.start_api(), stack.until_rung())

    await stack.audit()
    report_recovery("all tasks were done", resumed_at)
