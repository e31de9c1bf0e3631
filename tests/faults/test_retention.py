"""A worker dies over tasks that are being forgotten."""

from time import monotonic

from shared.store.store import Store
from tests.builders import execute, failed, open_store, pass_time
from tests.faults.conftest import Report
from tests.faults.stack import Stack
from tests.partitions import DAY, daily, is_whole, made_at, today

KEPT_DAYS = 7


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
