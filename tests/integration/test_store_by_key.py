"""What runs with every few tasks reads the rows of those few, whatever PostgreSQL believes of its tables."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from uuid import UUID

import pytest

from shared.domain.message import Due
from shared.domain.ring import Ring
from shared.ids import new_task_id
from shared.store.finishing import Ending
from shared.store.lifecycle import Progress
from shared.store.statement import text
from shared.store.store import Store
from tests.builders import CANCELLED, FAILED, QUEUE, RETURNED, SUCCEEDED, TYPE, execute, new_task, open_store
from tests.records import task_record

_BATCH: Final = 50
#: Rows that a batch may read: its own, some of them several times, as those of its tables that are small.
_ENOUGH: Final = 5 * _BATCH
_WORKER: Final = "a"

Move = Callable[[Store, list[UUID]], Awaitable[object]]


def _due(ids: list[UUID]) -> list[Due]:
    return [Due(task_id, 1) for task_id in ids]


def _finish(**fields: Any) -> Move:
    return lambda store, ids: store.lifecycle.finish(
        [Ending(task_record(id=task_id), **fields) for task_id in ids], worker=_WORKER
    )


_MOVES: Final[Mapping[str, tuple[str, Move]]] = {
    "accept": ("none", lambda store, ids: store.submissions.accept([new_task(id=task_id) for task_id in ids])),
    "claim": ("queued", lambda store, ids: store.lifecycle.claim(_due(ids), worker=_WORKER, types=[TYPE])),
    "postpone": ("queued", lambda store, ids: store.outbox.postpone_unknown(_due(ids), ["another"])),
    "ring": ("queued", lambda store, ids: store.outbox.ring_queued(_due(ids))),
    "progress": (
        "running",
        lambda store, ids: store.lifecycle.report_progress([Progress(id_, 1, "{}") for id_ in ids], worker=_WORKER),
    ),
    "succeed": ("running", _finish(outcome=SUCCEEDED)),
    "fail": ("running", _finish(outcome=FAILED)),
    "cancel": ("running", _finish(outcome=CANCELLED)),
    "return": ("running", _finish(outcome=RETURNED)),
    "read": ("running", lambda store, ids: store.tasks.many(ids)),
    "look": ("running", lambda store, ids: store.tasks.versions(ids)),
}


@pytest.mark.parametrize("known", ["nothing", "empty"])
async def test_a_batch_reads_its_own_rows_however_long_the_backlog_grew_since(
    module_database_url: str, known: str
) -> None:
    async with open_store(module_database_url, pool_size=2) as store:
        await execute(store, "TRUNCATE tasks, outbox, queues")
        for partition in await store.partitions.all():
            await execute(store, f"ALTER TABLE {partition.name} SET (autovacuum_enabled = off)")
        if known == "empty":
            async with store.database.read() as connection:
                await connection.execute(text("VACUUM ANALYZE tasks"))
        for _, move in _MOVES.values():  # the plans are made now
            await move(store, [new_task_id()])
        ids = {"none": [new_task_id() for _ in range(_BATCH)], **await _backlog(store)}

        read: dict[str, int] = {}
        for name, (status, move) in _MOVES.items():
            before = await _rows_read(store)
            await move(store, [ids[status].pop() for _ in range(_BATCH)])
            read[name] = await _rows_read(store) - before

    assert {name: rows for name, rows in read.items() if rows > _ENOUGH} == {}
    assert read["claim"] >= _BATCH


async def test_confirmed_doorbells_are_found_by_key(module_database_url: str) -> None:
    async with open_store(module_database_url, pool_size=2) as store:
        await execute(store, "TRUNCATE outbox")
        await store.outbox.delete([Ring(1, new_task_id(), 1, QUEUE, "normal", TYPE)])
        rows = await execute(
            store,
            """INSERT INTO outbox (task_id, attempt, queue, priority, type, due_at)
               SELECT gen_random_uuid(), 1, :queue, 'normal', :type, now() FROM generate_series(1, 10000)
               RETURNING id, task_id, attempt, queue, priority, type""",
            queue=QUEUE,
            type=TYPE,
        )
        before = await _rows_read(store)

        await store.outbox.delete([Ring(*row) for row in rows[:_BATCH]])

        assert _BATCH <= await _rows_read(store) - before <= _ENOUGH
        assert [row.number for row in await execute(store, "SELECT count(*) AS number FROM outbox")] == [9950]


async def _backlog(store: Store) -> dict[str, list[UUID]]:
    """10,000 queued tasks, and 2,000 that run on one worker."""
    made: dict[str, list[UUID]] = {}
    for status, number in (("queued", 10_000), ("running", 2_000)):
        rows = await execute(
            store,
            """
            INSERT INTO tasks (id, type, queue, priority, status, attempt, attempts_before, max_attempts, timeout_s,
                               payload, errors, tags, created_at, queued_at, cancel_requested, worker, version)
            SELECT gen_random_uuid(), :type, :queue, 'normal', :status, CAST(:attempt AS int), 0, 3, 60,
                   '{}', '{}', '{}', now(), now(), false, :worker, 1
            FROM generate_series(1, CAST(:number AS int)) RETURNING id""",
            type=TYPE,
            queue=QUEUE,
            status=status,
            attempt=1 if status == "running" else 0,
            worker=_WORKER if status == "running" else None,
            number=number,
        )
        made[status] = [row.id for row in rows]
    return made


async def _rows_read(store: Store) -> int:
    """Rows of all tables that the connections of `by_key` and others have looked at so far."""
    async with store.database.by_key() as connection:  # there is one: it tells what it has done before
        await connection.execute(text("SELECT pg_stat_force_next_flush()"))
    [row] = await execute(
        store, "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::int AS rows FROM pg_stat_user_tables"
    )
    return int(row.rows)
