"""The partitions of the tasks: made ahead, forgotten as a whole, and never in the way of a task."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from alembic import command
from alembic.config import Config

from shared.artifacts import ArtifactStore
from shared.domain.artifact import Artifact
from shared.domain.message import Due
from shared.domain.outcome import Outcome
from shared.domain.status import FINAL, TaskStatus
from shared.domain.task import IdempotencyKey, UniqueKey
from shared.errors import PartitionsBusyError
from shared.ids import first_id_at, new_task_id
from shared.store import retiring
from shared.store.connection import Connection
from shared.store.finishing import Ending
from shared.store.partitions import change
from shared.store.statement import text
from shared.store.store import Store
from shared.store.tasks import TaskFilter
from tests.builders import (
    FAILED,
    IN_STATUS,
    SUCCEEDED,
    TYPE,
    at_once,
    claim,
    ended,
    execute,
    failed,
    finish,
    held,
    new_task,
    open_store,
    pass_time,
    queued,
    running,
    scheduled,
    status_of,
    succeeded,
)  # fmt: skip
from tests.partitions import DAY, LOCKS_ON_ALL, daily, is_whole, lay_out, made_at, today
from worker_service.loops.partitions import Partitions
from worker_service.loops.retention import Retention

ALL_OF_TIME = (datetime(1970, 1, 1, tzinfo=UTC), datetime(2500, 1, 1, tzinfo=UTC))


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url) as opened:
        yield opened


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path.as_uri())


async def names(store: Store) -> list[str]:
    return [partition.name for partition in await store.partitions.all()]


async def page_of(store: Store) -> list[UUID]:
    return [task.id for task in await store.tasks.page(TaskFilter(), limit=1000)]


async def table_of(store: Store, task_id: UUID) -> str:
    [row] = await execute(store, "SELECT tableoid::regclass::text AS name FROM tasks WHERE id = :id", id=task_id)
    name: str = row.name
    return name


def loop(store: Store, *, retention_days: float = 7) -> Partitions:
    return Partitions(store.partitions, retention_days=retention_days)


async def forget(store: Store, artifacts: ArtifactStore, *, days: float = 7) -> int:
    """Rounds of retention until nothing is left to do. Returns how many there were."""
    rounds = 1
    while await Retention(store, artifacts, days=days).run_once():
        rounds += 1
        assert rounds < 50
    return rounds


# Every id has its place ...............................................................


async def test_a_fresh_database_takes_tasks_of_any_time(store: Store) -> None:
    assert is_whole(await store.partitions.all())
    ids = [await queued(store, id=made_at(moment)) for moment in (*ALL_OF_TIME, datetime.now(UTC))]

    assert await page_of(store) == sorted(ids, reverse=True)


async def test_tasks_of_several_partitions_move_together(store: Store) -> None:
    await daily(store, -2, 2)
    ids = [await queued(store, id=made_at(today() + days * DAY)) for days in (-9, -2, -1, 0, 1, 9)]
    assert len({await table_of(store, id_) for id_ in ids}) == 6

    claimed = await store.lifecycle.claim([Due(id_, 1) for id_ in reversed(ids)], worker="a", types=[TYPE])
    ended_now = await store.lifecycle.finish([Ending(task, SUCCEEDED) for task in claimed], worker="a")

    assert {task.id for task in claimed} == {task.id for task in ended_now.tasks} == set(ids)
    assert await page_of(store) == ids[::-1]
    assert {task.id: task.status for task in await store.tasks.many(ids)} == dict.fromkeys(ids, "succeeded")
    assert (await store.lifecycle.finish([Ending(task, SUCCEEDED) for task in claimed], worker="a")).refused == []


async def test_what_is_due_is_found_in_every_partition(store: Store) -> None:
    await daily(store, -2, 2)
    made = [made_at(today() + days * DAY) for days in (-9, -1, 9)]
    late = [await scheduled(store, id=id_) for id_ in made]
    overdue = [await queued(store, expires_in_s=60.0, id=made_at(today() + days * DAY)) for days in (-9, -1, 9)]
    lost = [await running(store, id=made_at(today() + days * DAY)) for days in (-9, -1, 9)]
    await pass_time(store, 7200)

    released, expired = await store.lifecycle.release(10), await store.lifecycle.expire(10)
    rescued = await store.lifecycle.rescue(10, rescuer=None)

    assert {task.id for task in released.tasks} == set(late)
    assert {task.id for task in expired.tasks} == set(overdue)
    assert {task.id for task in rescued.tasks} == set(lost)
    [figures] = await store.queues.figures()
    assert (figures.ready, figures.running, figures.failed) == (6, 0, 0)


# Made ahead ...........................................................................


async def test_partitions_are_made_days_ahead(store: Store) -> None:
    while await loop(store).run_once():
        pass

    partitions = await store.partitions.all()
    assert is_whole(partitions)
    assert timedelta(days=3) <= (partitions[-1].begin or ALL_OF_TIME[0]) - datetime.now(UTC) < timedelta(days=4)
    assert await loop(store).run_once() == 0


async def test_a_new_partition_is_like_the_others(store: Store) -> None:
    await loop(store).run_once()
    [*_, last] = await names(store)

    [row] = await execute(
        store,
        "SELECT reloptions, (SELECT count(*) FROM pg_index WHERE indrelid = c.oid) AS indexes FROM pg_class c"
        " WHERE oid = CAST(:name AS regclass)",
        name=last,
    )
    assert "fillfactor=85" in row.reloptions
    assert row.indexes == 6


async def test_two_workers_make_each_partition_once(store: Store) -> None:
    await lay_out(store, today())

    for _ in range(10):
        rounds = await at_once(*(loop(store).run_once() for _ in range(4)))
        assert [result for result in rounds if isinstance(result, BaseException)] == []

    partitions = await store.partitions.all()
    assert is_whole(partitions)
    assert len({partition.name for partition in partitions}) == len(partitions) == 6


async def test_tasks_that_came_while_no_worker_ran_keep_their_place(store: Store) -> None:
    await lay_out(store, today() - 20 * DAY)
    moments = [today() - 15 * DAY, datetime.now(UTC), today() + 40 * DAY]
    ids = [await queued(store, id=made_at(moment)) for moment in moments]
    before = await table_of(store, ids[0])

    while await loop(store).run_once():
        pass

    assert is_whole(await store.partitions.all())
    assert await page_of(store) == ids[::-1]
    [*_, last] = await names(store)
    assert [await table_of(store, id_) for id_ in ids] == [before, before, last]


async def test_a_long_retention_has_wide_partitions(store: Store) -> None:
    await lay_out(store, today())

    while await loop(store, retention_days=90).run_once():
        pass

    assert (await names(store))[-1] == f"tasks_{today() + 12 * DAY:%Y%m%d}"


async def test_a_long_statement_postpones_the_cut_and_nothing_else(store: Store) -> None:
    await lay_out(store, today())
    async with store.database.transaction() as reader:
        await reader.control("SELECT 1 FROM tasks")

        with pytest.raises(PartitionsBusyError):
            await store.partitions.extend(width=DAY)
        assert await loop(store).run_once() == 0
        task_id = await queued(store)

    assert await loop(store).run_once() == 1
    assert await page_of(store) == [task_id]


async def test_tasks_are_run_while_partitions_come_and_go(store: Store, artifacts: ArtifactStore) -> None:
    await daily(store, -20, 0)
    for days in range(-20, -9):
        await succeeded(store, id=made_at(today() + days * DAY))
    await pass_time(store, 9 * 86400)
    stop = asyncio.Event()

    async def work() -> int:
        count = 0
        while not stop.is_set():
            tasks = [new_task() for _ in range(5)]
            await store.submissions.accept(tasks)
            claimed = await store.lifecycle.claim([Due(task.id, 1) for task in tasks], worker="a", types=[TYPE])
            assert len(claimed) == 5
            finished = await store.lifecycle.finish([Ending(task, SUCCEEDED) for task in claimed], worker="a")
            assert finished.refused == []
            count += 5
        return count

    workers = [asyncio.create_task(work()) for _ in range(3)]
    async with asyncio.timeout(60):
        while (await names(store))[-1] < f"tasks_{today() + 3 * DAY:%Y%m%d}" or len(await names(store)) > 15:
            await at_once(loop(store).run_once(), Retention(store, artifacts, days=7).run_once())
    stop.set()

    done = sum(await asyncio.gather(*workers))
    [row] = await execute(store, "SELECT count(*) AS number FROM tasks WHERE status = 'succeeded'")
    assert row.number == done > 0


# Forgotten as a whole .................................................................


async def with_belongings(store: Store, artifacts: ArtifactStore, outcome: Outcome, **fields: Any) -> UUID:
    """A task that has everything a task can have."""
    task_id = await running(store, idempotency=IdempotencyKey(new_task_id().bytes, b"body"), **fields)
    await store.marks.add(task_id, "sent")
    file = Artifact(id=new_task_id(), name="f", media_type="a/b", size_bytes=1, task_id=task_id, attempt=1)
    artifacts.save(file.key, b"x")
    ending = Ending(await held(store, task_id, 1), outcome, artifacts=(file,))
    await store.lifecycle.finish([ending], worker="a")
    return task_id


async def belongings(store: Store, artifacts: ArtifactStore) -> dict[str, set[UUID]]:
    """The tasks to which anything belongs, by what it is."""
    found = {
        table: {row.task_id for row in await execute(store, f"SELECT task_id FROM {table} WHERE task_id IS NOT NULL")}
        for table in ("dead_letters", "task_marks", "artifacts")
    }
    found["keys"] = {
        row.task_id for row in await execute(store, "SELECT task_id FROM task_keys WHERE kind = 'idempotency'")
    }
    found["files"] = {UUID(file.key.split("/")[1]) async for page in artifacts.stored() for file in page}
    return found


async def test_an_old_partition_goes_with_all_that_belongs_to_its_tasks(
    store: Store, artifacts: ArtifactStore
) -> None:
    await daily(store, -10, 4)
    old = today() - 9 * DAY
    gone = [await with_belongings(store, artifacts, end, id=made_at(old)) for end in (SUCCEEDED, FAILED)]
    await pass_time(store, 9 * 86400, tables=["tasks"])
    young = await with_belongings(store, artifacts, FAILED)
    unreadable = await store.dead_letters.record_unreadable(b"x", queue="default", reason="malformed")
    await execute(store, "UPDATE dead_letters SET id = :new WHERE id = :id", new=made_at(old), id=unreadable)
    await store.audit.add("ann", "purge", "queue", details="{}", request_id=None)

    await forget(store, artifacts)

    assert not set(gone) & set(await page_of(store))
    left = await belongings(store, artifacts)
    assert left.pop("dead_letters") == {young}
    assert set(map(frozenset, left.values())) == {frozenset([young])}
    assert len(await execute(store, "SELECT 1 FROM dead_letters WHERE task_id IS NULL")) == 1
    assert len(await execute(store, "SELECT 1 FROM audit")) == 1
    assert f"tasks_{old:%Y%m%d}" not in await names(store)
    assert await execute(store, "SELECT 1 FROM pg_class WHERE relname = :name", name=f"tasks_{old:%Y%m%d}") == []
    assert is_whole(await store.partitions.all())


async def test_what_may_not_be_forgotten_outlives_its_partition(store: Store, artifacts: ArtifactStore) -> None:
    await daily(store, -10, 4)
    made = [made_at(today() - 9 * DAY + n * timedelta(hours=1)) for n in range(12)]
    doomed = await succeeded(store, id=made[0])
    held = await succeeded(store, id=made[1], unique=UniqueKey(b"u", 40 * 86400))
    await pass_time(store, 8 * 86400, tables=["tasks"])
    unfinished = [
        await IN_STATUS[status](store, id=id_) for status, id_ in zip(set(TaskStatus) - FINAL, made[2:6], strict=True)
    ]
    late = await with_belongings(store, artifacts, FAILED, id=made[8])

    await forget(store, artifacts)

    kept = {held, *unfinished, late}
    assert set(await page_of(store)) == kept
    assert doomed not in kept
    assert {await table_of(store, id_) for id_ in kept} == {"tasks_leftover"}
    assert await belongings(store, artifacts) == {
        "dead_letters": {late}, "task_marks": {late}, "artifacts": {late}, "keys": {late}, "files": {late},
    }  # fmt: skip
    ready = next(task.id for task in await store.tasks.many(unfinished) if task.status == "queued")
    await claim(store, ready)
    assert (await finish(store, ready, SUCCEEDED)).refused == []


async def test_what_is_left_over_goes_when_its_time_has_come(store: Store, artifacts: ArtifactStore) -> None:
    await daily(store, -10, 4)
    late = await with_belongings(store, artifacts, FAILED, id=made_at(today() - 9 * DAY))
    await forget(store, artifacts)
    assert await status_of(store, late) == "failed"

    await pass_time(store, 7 * 86400 + 1, tables=["tasks"])
    await forget(store, artifacts)

    assert await page_of(store) == []
    assert set(map(len, (await belongings(store, artifacts)).values())) == {0}


async def test_nothing_goes_before_its_time(store: Store, artifacts: ArtifactStore) -> None:
    await daily(store, -10, 4)
    ids = [await succeeded(store, id=made_at(today() - days * DAY)) for days in (8, 9, 10)]
    await pass_time(store, 7 * 86400 - 60)

    await forget(store, artifacts)

    assert set(await page_of(store)) == set(ids)


async def test_only_partitions_that_are_old_enough_go(store: Store, artifacts: ArtifactStore) -> None:
    await daily(store, -10, 4)

    await forget(store, artifacts)

    assert (await names(store))[:2] == ["tasks_leftover", f"tasks_{today() - 7 * DAY:%Y%m%d}"]


async def test_a_partition_with_much_to_keep_stays_and_is_cleared_task_by_task(
    store: Store, artifacts: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retiring, "MAX_MOVED", 1)
    await daily(store, -10, 4)
    moments = {name: today() - days * DAY for name, days in (("overdue", 10), ("just due", 8))}
    for moment in moments.values():
        await succeeded(store, id=made_at(moment))
    await pass_time(store, 9 * 86400)
    kept = [await queued(store, id=made_at(moment)) for moment in moments.values() for _ in range(2)]

    await forget(store, artifacts)

    left = [id_ for id_ in await page_of(store) if id_ not in kept]
    assert [await table_of(store, id_) for id_ in left] == [f"tasks_{moments['just due']:%Y%m%d}"]
    assert f"tasks_{moments['overdue']:%Y%m%d}" in await names(store)


async def test_files_beyond_what_a_round_takes_go_in_the_next(
    store: Store, artifacts: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retiring, "_FILES", 2)
    monkeypatch.setattr(retiring, "_CHUNK", 2)
    await daily(store, -10, 4)
    for _ in range(5):
        await with_belongings(store, artifacts, FAILED, id=made_at(today() - 9 * DAY))
    await pass_time(store, 8 * 86400, tables=["tasks"])

    await forget(store, artifacts)

    assert set(map(len, (await belongings(store, artifacts)).values())) == {0}
    assert await execute(store, "SELECT 1 FROM retired_partitions") == []


async def test_workers_that_forget_at_once_forget_each_task_once(store: Store, artifacts: ArtifactStore) -> None:
    await daily(store, -12, 4)
    for days in (9, 10, 11):
        await failed(store, id=made_at(today() - days * DAY))
    await pass_time(store, 8 * 86400)
    young = await failed(store)

    for _ in range(8):
        rounds = await at_once(*(Retention(store, artifacts, days=7).run_once() for _ in range(3)))
        assert [result for result in rounds if isinstance(result, BaseException)] == []

    assert await page_of(store) == [young]
    assert is_whole(await store.partitions.all())


async def test_a_long_statement_postpones_retirement_and_nothing_else(store: Store) -> None:
    await daily(store, -10, 4)
    task_id = await succeeded(store, id=made_at(today() - 9 * DAY))
    await pass_time(store, 8 * 86400)
    before = await names(store)
    async with store.database.transaction() as reader:
        await reader.control("SELECT 1 FROM tasks")

        assert await store.retiring.retire(older_than_days=7) is None

        assert await names(store) == before
        assert await status_of(store, task_id) == "succeeded"


# Cut short ............................................................................


async def test_nobody_is_kept_from_the_tasks_while_a_worker_says_nothing(
    store: Store, artifacts: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lay_out(store, today() - 9 * DAY, today() - 8 * DAY, today())
    await with_belongings(store, artifacts, FAILED, id=made_at(today() - 9 * DAY))
    await pass_time(store, 8 * 86400, tables=["tasks"])
    said: list[str] = []

    async def watched(connection: Connection, command: str, *, timeout_s: float | None = None) -> None:
        await control(connection, command, timeout_s=timeout_s)
        async with store.database.read() as other:
            assert await other.scalar(text(LOCKS_ON_ALL)) == 0
        said.append(command)

    control = Connection.control
    monkeypatch.setattr(Connection, "control", watched)
    assert await store.partitions.extend(width=DAY) is not None
    assert await store.retiring.retire(older_than_days=7) is not None

    assert sum("LOCK TABLE" in command for command in said) == 2


async def test_what_a_dead_worker_has_taken_out_is_deleted_by_another(store: Store, artifacts: ArtifactStore) -> None:
    await lay_out(store, today() - 9 * DAY, today() - 8 * DAY, today())
    await with_belongings(store, artifacts, FAILED, id=made_at(today() - 9 * DAY))
    await pass_time(store, 8 * 86400, tables=["tasks"])
    retired = await store.retiring.retire(older_than_days=7)  # and it dies
    assert retired is not None
    assert set(map(len, (await belongings(store, artifacts)).values())) == {1}

    await forget(store, artifacts, days=300)  # by a worker that would have kept it

    assert set(map(len, (await belongings(store, artifacts)).values())) == {0}
    assert await execute(store, "SELECT 1 FROM pg_class WHERE relname = :name", name=retired.name) == []


async def test_a_task_that_ended_again_as_its_partition_went_comes_back(
    store: Store, artifacts: ArtifactStore
) -> None:
    await lay_out(store, today() - 9 * DAY, today() - 8 * DAY, today())
    ids = [await with_belongings(store, artifacts, FAILED, id=made_at(today() - 9 * DAY)) for _ in range(2)]
    await pass_time(store, 8 * 86400, tables=["tasks"])
    retired = await store.retiring.retire(older_than_days=7)
    assert retired is not None
    # As if that had been between the last look and the moment in which the partition was taken out.
    await execute(store, f"UPDATE {retired.name} SET finished_at = now() WHERE id = :id", id=ids[1])

    await forget(store, artifacts)

    assert await page_of(store) == [ids[1]]
    assert set(map(frozenset, (await belongings(store, artifacts)).values())) == {frozenset([ids[1]])}


async def test_a_task_that_was_renewed_after_the_last_look_is_not_taken_out(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lay_out(store, today() - 9 * DAY, today() - 8 * DAY, today())
    task_id = await failed(store, id=made_at(today() - 9 * DAY))
    await pass_time(store, 8 * 86400)

    async def renewed_first(connection: Connection, *commands: str) -> None:
        await store.lifecycle.renew(task_id)
        await change(connection, *commands)

    monkeypatch.setattr(retiring, "change", renewed_first)
    assert await store.retiring.retire(older_than_days=7) is not None

    assert await status_of(store, task_id) == "queued"
    assert await claim(store, task_id, attempt=2) != []


# Migrated .............................................................................


def alembic(url: str, move: Callable[[Config], object]) -> None:
    """Have Alembic do something, beside the loop of the test: the migrations bring one of their own."""
    config = Config(Path(__file__).parents[2] / "alembic.ini")
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    with ThreadPoolExecutor(max_workers=1) as pool:
        pool.submit(move, config).result()


def test_models_and_migrations_agree(database_url: str) -> None:
    alembic(database_url, command.check)


async def test_no_task_is_lost_on_the_way_to_partitions_and_back(database_url: str) -> None:
    columns = "id, type, status, attempt, payload, result, errors, tags, created_at, finished_at, version"
    async with open_store(database_url) as store:
        for status in TaskStatus:
            await IN_STATUS[status](store)
        for moment in (*ALL_OF_TIME, today() - 30 * DAY, today() - DAY, today() + 2 * DAY):
            await queued(store, id=made_at(moment))
        gone = await ended(store, SUCCEEDED, id=first_id_at(today() - 40 * DAY))
        rows = await execute(store, f"SELECT {columns} FROM tasks ORDER BY id")
    assert gone in {row.id for row in rows}

    alembic(database_url, lambda config: command.downgrade(config, "0002"))
    async with open_store(database_url) as store:
        assert await execute(store, f"SELECT {columns} FROM tasks ORDER BY id") == rows
        assert await execute(store, "SELECT 1 FROM pg_class WHERE relname LIKE 'tasks\\_2%'") == []

    alembic(database_url, lambda config: command.upgrade(config, "head"))
    async with open_store(database_url) as store:
        assert await execute(store, f"SELECT {columns} FROM tasks ORDER BY id") == rows
        assert is_whole(await store.partitions.all())
        task_id = await queued(store)
        await claim(store, task_id)
        assert (await finish(store, task_id, SUCCEEDED)).refused == []
        assert len(await names(store)) == 3
