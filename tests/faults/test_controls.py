"""Operators' controls while something dies: what was asked for holds, and no task is lost."""

import asyncio
from contextlib import suppress
from datetime import datetime
from time import monotonic
from typing import Any

import asyncpg
import httpx

from tests.faults.amqp import DEFAULT, opened_channel
from tests.faults.conftest import Report
from tests.faults.stack import Stack


async def control(stack: Stack, method: str, path: str, **options: Any) -> dict[str, Any]:
    answer = await stack.client.request(method, f"{stack.url}{path}", **options)
    assert answer.status_code in (200, 202), answer.text
    document: dict[str, Any] = answer.json()
    return document


async def until_refused(stack: Stack) -> None:
    """Wait until every message has come to a worker and was refused."""
    await stack.until_rung()
    await stack.until(lambda: is_empty_at_broker(stack), 30, "all messages to be acked")


async def is_empty_at_broker(stack: Stack) -> bool:
    """By the broker itself; its management counts only every few seconds."""
    async with opened_channel(stack) as channel:
        queue = await channel.declare_queue(DEFAULT, passive=True)
        return queue.declaration_result.message_count == 0


async def test_a_pause_outlives_every_process(stack: Stack, report_recovery: Report) -> None:
    await stack.start()
    running = await stack.submit("trail.sleep", {"seconds": 600, "only_first": True})
    await stack.until_status(running, "running")
    paused_at = (await control(stack, "POST", "/queues/default/pause"))["paused_at"]

    for process in (*stack.workers, *stack.apis):
        process.kill()
    await stack.start(workers=2)
    held = await stack.submit_many(20, "trail.sleep")
    await stack.until_status(running, "queued")
    await until_refused(stack)
    assert [task["status"] for task in await stack.until_all(held, "queued")] == ["queued"] * 20
    assert (await control(stack, "POST", "/queues/default/pause"))["paused_at"] == paused_at

    await control(stack, "POST", "/queues/default/resume")
    resumed_at = monotonic()
    await stack.audit()
    report_recovery("all tasks were done", resumed_at)
    assert await stack.attempts([running]) == {2: 1}


async def test_a_resumption_whose_api_dies_half_way_is_finished_by_a_worker(
    stack: Stack, report_recovery: Report
) -> None:
    await stack.start()
    await control(stack, "POST", "/queues/default/pause")
    await stack.submit_many(20, "trail.sleep")
    await until_refused(stack)
    stack.workers[0].kill()  # so that nobody else is held up by the lock

    connection = await asyncpg.connect(stack.servers.database_url)
    async with connection.transaction():
        await connection.execute("LOCK TABLE outbox IN EXCLUSIVE MODE")  # the second half can't begin
        asking = asyncio.create_task(stack.client.post(f"{stack.url}/queues/default/resume"))
        await stack.until(lambda: is_half_resumed(stack), 30, "the pause to be over")
        stack.apis[0].kill()
        with suppress(httpx.HTTPError):
            await asking
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    await connection.close()
    killed_at = monotonic()
    assert await stack.fetch("SELECT count(*) FROM outbox") == 0
    await stack.start()

    await stack.audit()
    report_recovery("all tasks were done", killed_at)


async def is_half_resumed(stack: Stack) -> bool:
    return bool(await stack.fetch("SELECT resumed_at IS NOT NULL FROM queues WHERE name = 'default'"))


async def test_a_broker_that_is_wiped_during_a_pause_costs_nothing(stack: Stack, report_recovery: Report) -> None:
    await stack.start(RECONCILE_AFTER_SECONDS="3600")
    await control(stack, "POST", "/queues/default/pause")
    await stack.submit_many(20, "trail.sleep")
    await until_refused(stack)
    broker = stack.servers.rabbitmq
    for step in (broker.stop, broker.wipe, broker.start):
        await asyncio.to_thread(step)

    await control(stack, "POST", "/queues/default/resume")
    resumed_at = monotonic()
    await stack.audit()
    report_recovery("all tasks were done", resumed_at)


async def test_nothing_starts_in_a_pause_whatever_is_killed_meanwhile(stack: Stack) -> None:
    await stack.start(workers=2)
    pauses: list[tuple[datetime, datetime]] = []
    for turn in range(4):
        await stack.submit_many(20, "trail.sleep", {"seconds": 0.05})
        paused = await control(stack, "POST", "/queues/default/pause")
        await stack.submit_many(20, "trail.sleep")
        stack.workers[turn].kill()
        await stack.start_worker()
        until = await stack.fetch("SELECT now()")
        await asyncio.sleep(0.1)  # `started_at` is when a claim began, and what it sees is a bit younger
        await control(stack, "POST", "/queues/default/resume")
        pauses.append((datetime.fromisoformat(paused["paused_at"]), until))

    await stack.audit()
    for begin, end in pauses:
        query = f"SELECT count(*) FROM tasks WHERE started_at >= '{begin.isoformat()}' AND started_at < '{end}'"
        assert await stack.fetch(query) == 0


async def test_a_drained_worker_costs_no_task_anything(stack: Stack) -> None:
    await stack.start()
    [leaving] = stack.workers
    long = await stack.submit_many(5, "trail.sleep", {"seconds": 4})
    await stack.until_all(long, "running")
    waiting = await stack.submit_many(60, "trail.sleep", {"seconds": 1})  # some of them run, some are fetched

    [worker] = (await control(stack, "GET", "/workers"))["items"]
    assert (await control(stack, "POST", f"/workers/{worker['id']}/drain"))["draining"]
    await stack.until(lambda: "worker_drained" in leaving.output(), 30, "the worker to have drained")
    await stack.start_worker()
    await stack.until(lambda: is_idle(stack, worker["id"]), 60, "the worker to be idle")
    late = await stack.submit_many(20, "trail.sleep")
    await stack.audit()

    workers = {task["worker"] for task in await stack.until_all(late, "succeeded")}
    assert worker["id"] not in workers
    assert {task["worker"] for task in await stack.until_all(long, "succeeded")} == {worker["id"]}
    assert await stack.attempts([*long, *waiting, *late]) == {1: 85}
    assert await leaving.terminate() < 30
    assert leaving.returncode() == 0


async def is_idle(stack: Stack, worker_id: str) -> bool:
    workers = (await control(stack, "GET", "/workers"))["items"]
    return [(view["running"], view["healthy"]) for view in workers if view["id"] == worker_id] == [(0, True)]


async def test_a_replay_whose_worker_is_killed_goes_on_where_it_was(stack: Stack, report_recovery: Report) -> None:
    await stack.start()
    [victim] = stack.workers
    dead = await stack.submit_many(40, "trail.fail", {"times": 1}, max_attempts=1)
    await stack.until(lambda: count(stack, "status = 'failed'", 40), 60, "all tasks to be dead")

    answer = await control(stack, "POST", "/dead-letters/replay", json={"type": "trail.fail", "per_second": 10})
    await stack.until(lambda: count(stack, "type = 'trail.fail' AND attempts_before = 1", 12), 60, "some to run")
    victim.kill()
    killed_at = monotonic()
    await stack.start_worker()

    done = await stack.until_status(answer["task_id"], "succeeded", within_s=90)
    await stack.audit()
    report_recovery("all tasks were done", killed_at)
    assert answer["matching"] == 40
    assert done["result"]["matching"] == done["result"]["replayed"] == 40
    assert done["attempt"] == 2
    assert sum(stack.starts(task_id) for task_id in dead) == 80


async def count(stack: Stack, condition: str, number: int) -> bool:
    return int(await stack.fetch(f"SELECT count(*) FROM tasks WHERE {condition}")) >= number
