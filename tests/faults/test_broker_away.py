"""RabbitMQ goes away, comes back, and has forgotten everything."""

import asyncio
from time import monotonic

from tests.faults.amqp import close_connections, delete_queue
from tests.faults.conftest import Report
from tests.faults.stack import Stack
from tests.faults.traffic import Traffic


async def test_tasks_are_accepted_while_the_broker_is_away_and_run_when_it_is_back(
    stack: Stack, report_recovery: Report
) -> None:
    await stack.start()
    broker = stack.servers.rabbitmq

    async with Traffic(stack) as traffic:
        await traffic.more()
        await asyncio.to_thread(broker.stop)
        await traffic.more()
        await asyncio.to_thread(broker.start)
        await traffic.more()
        await asyncio.to_thread(broker.kill)
        await traffic.more()
    await asyncio.to_thread(broker.start)
    back_at = monotonic()

    await stack.audit()
    report_recovery("all tasks were done", back_at)
    traffic.require_accepted()


async def test_a_broker_that_lost_its_messages_is_rung_again(stack: Stack, report_recovery: Report) -> None:
    await stack.start()
    await stack.workers[0].terminate()
    await stack.submit_many(50, "trail.sleep")
    await stack.until_rung()

    await _wipe(stack)
    back_at = monotonic()
    await stack.start_worker()

    await stack.audit()
    report_recovery("all tasks were done", back_at)


async def test_a_broker_that_is_wiped_under_its_consumers_costs_no_task(
    stack: Stack, report_recovery: Report
) -> None:
    await stack.start(workers=2)
    await stack.submit_many(20, "trail.sleep", {"seconds": 3})  # run
    await stack.submit_many(60, "trail.sleep", {"seconds": 1})  # wait at the broker
    await stack.until_rung()

    await _wipe(stack)
    back_at = monotonic()

    await stack.audit()
    report_recovery("all tasks were done", back_at)
    assert await stack.attempts(stack.accepted) == {1: 80}


async def test_a_consumer_that_the_broker_has_cancelled_consumes_again(stack: Stack, report_recovery: Report) -> None:
    await stack.start()
    await stack.submit_many(20, "trail.sleep", {"seconds": 2})  # run
    await stack.submit_many(20, "trail.sleep")  # wait at the broker
    await stack.until_rung()

    await asyncio.to_thread(delete_queue, stack)
    cancelled_at = monotonic()

    await stack.audit()
    await stack.until_status(await stack.submit("trail.sleep"), "succeeded")
    report_recovery("all tasks were done", cancelled_at)
    assert await stack.attempts(stack.accepted) == {1: 41}


async def test_an_attempt_whose_message_comes_again_before_its_outcome_is_written_runs_once(stack: Stack) -> None:
    await stack.start()
    await stack.submit_many(8, "trail.sleep", {"seconds": 1})  # leaves slots free, to start them once more
    await stack.until(lambda: _count(stack, "start") == 8, 30, "all to start")

    await asyncio.to_thread(stack.servers.postgres.stop)
    await stack.until(lambda: _count(stack, "end") == 8, 30, "all to end")
    redelivered = stack.workers[0].output().count("broker_connected")
    await stack.until(lambda: _thrown_out(stack), 30, "the worker to be disconnected")
    await stack.until(
        lambda: stack.workers[0].output().count("broker_connected") > redelivered, 30, "the worker to connect again"
    )
    await asyncio.to_thread(stack.servers.postgres.start)

    await stack.audit()


def _count(stack: Stack, event: str) -> int:
    return sum(step["event"] == event for step in stack.steps())


async def _thrown_out(stack: Stack) -> bool:
    await asyncio.to_thread(close_connections, stack)
    return "broker_lost" in stack.workers[0].output()


async def _wipe(stack: Stack) -> None:
    broker = stack.servers.rabbitmq
    for step in (broker.stop, broker.wipe, broker.start):
        await asyncio.to_thread(step)
