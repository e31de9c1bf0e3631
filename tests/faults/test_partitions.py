"""A worker dies or is frozen over the partitions of the tasks."""

import asyncio
import signal
from contextlib import suppress
from time import monotonic
from typing import Final

from shared.store.partitions import partitions_of
from shared.store.statement import text
from shared.store.store import Store
from tests.builders import eventually, execute, failed, open_store, pass_time
from tests.faults.conftest import Report
from tests.faults.processes import ServiceProcess
from tests.faults.stack import Stack
from tests.partitions import DAY, LOCKS_ON_ALL, daily, is_whole, lay_out, made_at, today

KEPT_DAYS = 7
_WAITS_FOR_TASKS: Final = text(f"{LOCKS_ON_ALL} AND NOT l.granted")
_HAS_TASKS: Final = text(f"{LOCKS_ON_ALL} AND l.granted")
_LAID_OUT: Final = 2  # partitions


async def retired(store: Store) -> list[str]:
    return [row.name for row in await execute(store, "SELECT name FROM retired_partitions")]


async def test_a_partition_whose_worker_dies_before_it_is_deleted_is_deleted_by_the_next(
    stack: Stack, report_recovery: Report
) -> None:
    old = today() - 9 * DAY
    async with open_store(stack.servers.database_url) as store:
        await daily(store, -9, 8)
        for _ in range(3):
            await failed(store, id=made_at(old))
        await pass_time(store, 8 * 86400, tables=["tasks"])
        young = await failed(store)

        async def is_taken_out() -> bool:
            return await retired(store) == [f"tasks_{old:%Y%m%d}"]

        async def is_deleted() -> bool:
            tables = await execute(store, "SELECT FROM pg_class WHERE relname = :name", name=f"tasks_{old:%Y%m%d}")
            return await retired(store) == [] and tables == []

        # What belonged to the tasks goes first, so the worker gets no further than this.
        async with store.database.transaction() as connection:
            await connection.control("LOCK TABLE task_marks IN SHARE MODE")
            await stack.start(RETENTION_DAYS=str(KEPT_DAYS))
            await stack.until(is_taken_out, 60, "the partition to be taken out")
            [victim] = stack.workers
            victim.kill()
        killed_at = monotonic()
        await stack.start_worker(RETENTION_DAYS=str(KEPT_DAYS))
        await stack.until(is_deleted, 60, "the partition to be deleted")
        report_recovery("the partition was deleted", killed_at)

        assert [row.id for row in await execute(store, "SELECT id FROM tasks")] == [young]
        assert [row.task_id for row in await execute(store, "SELECT task_id FROM dead_letters")] == [young]
        assert is_whole(await store.partitions.all())


async def test_a_worker_that_is_frozen_over_the_partitions_keeps_nobody_from_the_tasks(
    stack: Stack, report_recovery: Report
) -> None:
    await stack.start_api()
    async with open_store(stack.servers.database_url) as store:
        await lay_out(store, today())
        assert len(await store.partitions.all()) == _LAID_OUT
        victim = await _frozen_over_the_partitions(stack, store)
        frozen_at = monotonic()

        await stack.start_worker()
        await stack.submit_many(20, "trail.sleep", {"seconds": 0})
        await stack.audit()
        report_recovery("all tasks were done", frozen_at)

        victim.signal(signal.SIGCONT)
        await stack.until(lambda: "partition_made" in victim.output(), 30, "the partition to be reported")
        assert is_whole(await store.partitions.all())


async def _frozen_over_the_partitions(stack: Stack, store: Store) -> ServiceProcess:
    """A new worker that stands still since it asked for the lock on the tasks, which PostgreSQL has given to it."""
    for _ in range(10):
        starting = asyncio.create_task(stack.start_worker())
        async with store.database.transaction() as reader:
            await reader.control("LOCK TABLE ONLY tasks IN ACCESS SHARE MODE")

            async def has_asked() -> bool:
                # It may be told that it has waited for too long before we have seen it.
                return await reader.scalar(_WAITS_FOR_TASKS) or "partition_postponed" in stack.workers[-1].output()

            await eventually(has_asked)
            stack.workers[-1].signal(signal.SIGSTOP)
        starting.cancel()
        await asyncio.wait([starting])
        # What a new worker looks for may have been in the way as well, and would be for as long as it is frozen.
        with suppress(TimeoutError):
            await eventually(lambda: _was_locked(store), within_s=0.5)
            return stack.workers[-1]
        stack.workers[-1].close()
    raise AssertionError("no worker was frozen in time")


async def _was_locked(store: Store) -> bool:
    """Whether somebody has all of the tasks, or has had them and made a partition."""
    async with store.database.read() as connection:
        return bool(await connection.scalar(_HAS_TASKS) or len(await partitions_of(connection)) > _LAID_OUT)
