"""Schedules while workers are killed and PostgreSQL goes away: each tick is one task."""

import asyncio
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import asyncpg

from tests.faults.stack import Stack

_SCHEDULES = [f"each-second-{number}" for number in range(8)]


async def test_each_tick_is_one_task_whoever_dies(stack: Stack) -> None:
    await stack.start(workers=3)
    for name in _SCHEDULES:
        body = {"every": 1, "type": "trail.sleep", "payload": {"seconds": 0.01}, "catch_up": "all"}
        answer = await stack.client.put(f"{stack.url}/schedules/{name}", json=body)
        assert answer.status_code == 201, answer.text

    await _until_ticked(stack, 20)
    stack.workers[-1].kill()
    await stack.start_worker()
    await _until_ticked(stack, 20)
    await asyncio.to_thread(stack.servers.postgres.kill)
    await asyncio.to_thread(stack.servers.postgres.start)
    await _until_ticked(stack, 20)
    await _kill_all_in_the_middle_of_a_round(stack)
    await asyncio.gather(stack.start_worker(), stack.start_worker())
    await _until_ticked(stack, 20)
    for name in _SCHEDULES:
        assert (await stack.client.post(f"{stack.url}/schedules/{name}/pause")).status_code == 200

    runs = await _rows(stack, "SELECT schedule, tick, outcome, task_id FROM schedule_runs ORDER BY schedule, tick")
    tasks = await _rows(stack, "SELECT id, tags FROM tasks")
    for name in _SCHEDULES:
        ticks: list[datetime] = [run["tick"] for run in runs if run["schedule"] == name]
        assert {later - tick for tick, later in pairwise(ticks)} == {timedelta(seconds=1)}, name
    assert {run["outcome"] for run in runs} == {"submitted"}
    assert len({run["task_id"] for run in runs}) == len(runs)
    assert {(run["task_id"], f"schedule:{run['schedule']}") for run in runs} == {
        (task["id"], task["tags"][0]) for task in tasks
    }
    assert len(tasks) == len(runs)
    stack.accepted += [str(task["id"]) for task in tasks]
    await stack.audit()


async def _kill_all_in_the_middle_of_a_round(stack: Stack) -> None:
    """SIGKILL while a round has written its runs and waits to write the doorbells of its tasks."""
    connection = await asyncpg.connect(stack.servers.database_url)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE outbox IN SHARE MODE")

            async def is_in_the_middle() -> bool:
                return bool(
                    await stack.fetch(
                        "SELECT EXISTS (SELECT FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid"
                        " WHERE l.relation = 'schedule_runs'::regclass AND l.mode = 'RowExclusiveLock'"
                        " AND a.wait_event_type = 'Lock' AND a.query LIKE '%INSERT INTO tasks%')"
                    )
                )

            await stack.until(is_in_the_middle, 30, "a round to be in the middle")
            for worker in stack.workers:
                worker.kill()
    finally:
        await connection.close()


async def _until_ticked(stack: Stack, more: int) -> None:
    wanted = await _ticked(stack) + more

    async def is_enough() -> bool:
        try:
            return await _ticked(stack) >= wanted
        except (OSError, asyncpg.PostgresError):
            return False  # it comes back

    await stack.until(is_enough, 60, f"{more} more ticks")


async def _ticked(stack: Stack) -> int:
    return int(await stack.fetch("SELECT count(*) FROM schedule_runs"))


async def _rows(stack: Stack, query: str) -> list[Any]:
    connection = await asyncpg.connect(stack.servers.database_url)
    try:
        return list(await connection.fetch(query))
    finally:
        await connection.close()
