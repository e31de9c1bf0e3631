"""PostgreSQL breaks off: what the store says, and that it goes on afterwards."""

import asyncio

import asyncpg
import pytest

from shared.domain.message import Due
from shared.errors import DatabaseUnavailableError, SchemaMissingError
from shared.ids import new_task_id
from shared.store.database import Database
from shared.store.statement import text
from shared.store.store import Store
from tests.builders import (
    SUCCEEDED,
    TYPE,
    at_once,
    claim,
    doorbells,
    eventually,
    execute,
    finish,
    new_task,
    open_store,
    queued,
    status_of,
)
from tests.servers.proxy import Proxy

_OTHERS = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


async def cut_off_everybody(store: Store) -> None:
    await execute(store, f"SELECT pg_terminate_backend(pid) {_OTHERS}")


async def until_blocked(store: Store) -> None:
    """Return when another connection waits for a lock."""

    async def is_blocked() -> bool:
        return bool(await execute(store, f"SELECT 1 {_OTHERS} AND wait_event_type = 'Lock'"))

    await eventually(is_blocked)


async def test_connections_that_were_all_cut_while_idle_keep_nobody_from_being_served(
    store: Store, module_database_url: str
) -> None:
    await store.database.warm_up()
    async with open_store(module_database_url, pool_size=1) as other:
        await cut_off_everybody(other)

    for _ in range(3):
        pings = [store.database.persist(store.database.ping, for_s=1) for _ in range(store.database.pool_size)]
        assert await at_once(*pings) == [None] * len(pings)


async def test_a_statement_that_is_cut_in_the_middle_can_be_repeated(store: Store, module_database_url: str) -> None:
    task_id = await queued(store)

    async with open_store(module_database_url, pool_size=4) as other, other.database.transaction() as connection:
        await connection.execute(text("SELECT 1 FROM tasks FOR UPDATE"))
        claiming = asyncio.create_task(
            store.database.persist(lambda: store.lifecycle.claim([Due(task_id, 1)], worker="a", types=[TYPE]))
        )
        await until_blocked(other)
        await execute(other, f"SELECT pg_terminate_backend(pid) {_OTHERS} AND wait_event_type = 'Lock'")

    claimed = await asyncio.wait_for(claiming, 10)
    assert [task.id for task in claimed] == [task_id]
    assert (await store.tasks.get(task_id)).attempt == 1


async def test_a_transaction_that_is_cut_before_its_commit_leaves_nothing(
    store: Store, module_database_url: str
) -> None:
    async def be_cut_off() -> None:
        async with store.database.transaction() as connection:
            await connection.execute(text("INSERT INTO queues (name) VALUES ('half')"))
            async with open_store(module_database_url, pool_size=1) as other:
                await cut_off_everybody(other)
            await connection.execute(text("INSERT INTO queues (name) VALUES ('done')"))

    with pytest.raises(DatabaseUnavailableError):
        await be_cut_off()

    await queued(store)
    assert {row.name for row in await execute(store, "SELECT name FROM queues")} == {"default"}


async def test_a_cancelled_statement_leaves_the_pool_usable(store: Store, module_database_url: str) -> None:
    task_id = await queued(store)

    async with open_store(module_database_url, pool_size=4) as other, other.database.transaction() as connection:
        await connection.execute(text("SELECT 1 FROM tasks FOR UPDATE"))
        claiming = [asyncio.create_task(claim(store, task_id)) for _ in range(8)]
        await until_blocked(other)
        for one in claiming:
            one.cancel()
        results = await asyncio.gather(*claiming, return_exceptions=True)

    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    assert await status_of(store, task_id) in {"queued", "running"}
    assert len(await claim(store, task_id)) == 1


async def test_a_transaction_whose_caller_was_cancelled_is_not_handed_to_the_next_one(
    module_database_url: str,
) -> None:
    async with open_store(module_database_url, pool_size=2) as store:  # one connection for transactions
        inserted = asyncio.Event()
        backends: list[int] = []

        async def be_cancelled() -> None:
            async with store.database.transaction() as connection:
                await connection.execute(text("INSERT INTO queues (name) VALUES ('half')"))
                backends.append(await connection.scalar(text("SELECT pg_backend_pid()")))
                inserted.set()
                await asyncio.Event().wait()

        caller = asyncio.create_task(be_cancelled())
        await inserted.wait()
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)

        async with store.database.read() as connection:
            backends.append(await connection.scalar(text("SELECT pg_backend_pid()")))
            assert await connection.scalar(text("SELECT pg_current_xact_id_if_assigned()")) is None
            assert await connection.execute(text("SELECT 1 FROM queues WHERE name = 'half'")) == []
        assert backends[0] == backends[1]


@pytest.mark.parametrize("statement", ["SELECT 1", "SELECT pg_sleep(60)"])
async def test_a_server_that_hangs_does_not_hold_on_to_who_was_cancelled_nor_to_who_closes(
    module_database_url: str, statement: str
) -> None:
    async with Proxy(module_database_url) as line, open_store(line.url, pool_size=2) as store:
        await store.database.warm_up()
        line.hang()

        async def be_cancelled() -> None:
            async with store.database.transaction() as connection:
                await connection.execute(text(statement))

        caller = asyncio.create_task(be_cancelled())
        await asyncio.wait({caller}, timeout=0.3)
        caller.cancel()
        # Without limits of its own it would be held for as long as a statement may take, 30 seconds.
        done, _ = await asyncio.wait({caller}, timeout=15)
        assert done
        assert caller.cancelled()
        async with asyncio.timeout(15):
            await store.database.close()


async def test_a_lock_that_two_moves_take_in_opposite_order_is_a_passing_fault(
    store: Store, module_database_url: str
) -> None:
    one, two = await queued(store), await queued(store)
    lock = text("SELECT 1 FROM tasks WHERE id = :id FOR UPDATE")

    async def lock_both(first: object, second: object, both_hold: asyncio.Barrier) -> None:
        async with store.database.transaction() as connection:
            await connection.execute(lock, {"id": first})
            await both_hold.wait()
            await connection.execute(lock, {"id": second})

    both_hold = asyncio.Barrier(2)
    results = await asyncio.gather(
        lock_both(one, two, both_hold), lock_both(two, one, both_hold), return_exceptions=True
    )

    assert sorted(type(result).__name__ for result in results) == ["DatabaseUnavailableError", "NoneType"]


async def test_a_fault_of_the_statement_itself_is_not_repeated(store: Store) -> None:
    tries = 0

    async def work() -> None:
        nonlocal tries
        tries += 1
        await execute(store, "SELECT 1 / 0")

    with pytest.raises(asyncpg.DivisionByZeroError):
        await store.database.persist(work)
    assert tries == 1


async def test_a_value_of_the_wrong_type_is_not_tried_again(store: Store) -> None:
    with pytest.raises(asyncpg.DataError, match="expected str"):
        await asyncio.wait_for(store.database.persist(lambda: store.marks.add(new_task_id(), 5)), 10)  # type: ignore[arg-type]


async def test_persisting_gives_up_after_the_time_it_was_given() -> None:
    database = Database("postgresql://postgres@127.0.0.1:1/none", connect_timeout_s=1)
    started = asyncio.get_running_loop().time()

    with pytest.raises(DatabaseUnavailableError):
        await database.persist(database.ping, for_s=0.2)

    assert asyncio.get_running_loop().time() - started < 5
    await database.close()


async def test_a_pool_without_a_free_connection_is_a_passing_fault(module_database_url: str) -> None:
    database = Database(module_database_url, pool_size=1, connect_timeout_s=0.2)
    async with database.read():
        with pytest.raises(DatabaseUnavailableError):
            await database.ping()
    await database.ping()
    await database.close()


async def test_a_database_without_our_schema_is_told_apart(store: Store) -> None:
    await store.database.require_schema()
    [row] = await execute(store, "SELECT version_num FROM alembic_version")
    try:
        for found in ("UPDATE alembic_version SET version_num = '0000'", "DELETE FROM alembic_version"):
            await execute(store, found)
            with pytest.raises(SchemaMissingError, match="alembic upgrade head"):
                await store.database.require_schema()
    finally:
        await execute(store, "DELETE FROM alembic_version")
        await execute(store, "INSERT INTO alembic_version VALUES (:v)", v=row.version_num)


async def test_moves_whose_answers_were_all_lost_end_where_one_of_each_would(store: Store) -> None:
    """Each is made twice, as `persist` does when a commit happened but its answer never came."""
    task = new_task()

    for _ in range(2):
        await store.submissions.accept([task])
    for _ in range(2):
        await claim(store, task.id)
    for _ in range(2):
        await finish(store, task.id, SUCCEEDED)

    record = await store.tasks.get(task.id)
    assert (record.status, record.attempt, record.errors) == ("succeeded", 1, [])
    assert await doorbells(store) == [(task.id, 1)]
