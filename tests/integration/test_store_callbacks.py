"""Every move that makes a status final brings the callback about, in its own transaction, and no other move does."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import RFC_4122, UUID

import orjson
import pytest

from shared.domain.callback import DELIVER_TYPE
from shared.domain.status import FINAL
from shared.domain.task import TaskRecord
from shared.store.rows import NEW_ID, Moved
from shared.store.statement import text
from shared.store.store import Store
from tests.builders import (
    CANCELLED,
    FAILED,
    QUEUE,
    RETRYING,
    RETURNED,
    SUCCEEDED,
    at_once,
    claim,
    doorbells,
    execute,
    finish,
    gone_silent,
    open_store,
    pass_time,
    queued,
    retrying,
    running,
    scheduled,
    steady,
)
from worker_service.library import webhooks
from worker_service.registry import registry

URL = "https://example.com/hook"


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url) as opened:
        yield opened


async def callbacks_of(store: Store, task_id: UUID) -> list[TaskRecord]:
    query = "SELECT id FROM tasks WHERE type = :type AND parent_id = :id ORDER BY id"
    rows = await execute(store, query, type=DELIVER_TYPE, id=task_id)
    return [await store.tasks.get(row.id) for row in rows]


async def finished(store: Store, outcome: Any) -> tuple[UUID, Moved]:
    task_id = await running(store, callback_url=URL)
    return task_id, await finish(store, task_id, outcome)


async def was_cancelled(store: Store) -> tuple[UUID, Moved]:
    task_id = await scheduled(store, callback_url=URL)
    return task_id, await store.lifecycle.cancel(task_id)


async def has_expired(store: Store) -> tuple[UUID, Moved]:
    task_id = await queued(store, callback_url=URL, expires_in_s=60.0)
    await pass_time(store, 61)
    return task_id, await store.lifecycle.expire(10)


async def rescued(store: Store, *, is_cancelled: bool = False, max_attempts: int = 1) -> tuple[UUID, Moved]:
    task_id = await running(store, worker="lost", callback_url=URL, max_attempts=max_attempts)
    if is_cancelled:
        await store.lifecycle.cancel(task_id)
    await gone_silent(store, "lost")
    await steady(store, "rescuer")
    return task_id, await store.lifecycle.rescue(10, rescuer="rescuer")


async def purged(store: Store) -> tuple[UUID, Moved]:
    task_id = await queued(store, callback_url=URL)
    return task_id, await store.purges.next_chunk(await store.purges.begin(QUEUE), 10)


async def purged_while_it_waits(store: Store) -> tuple[UUID, Moved]:
    task_id = await scheduled(store, callback_url=URL)
    return task_id, await store.purges.next_chunk(await store.purges.begin(QUEUE), 10)


FINAL_MOVES: dict[str, tuple[Callable[[Store], Awaitable[tuple[UUID, Moved]]], str]] = {
    "succeed": (lambda store: finished(store, SUCCEEDED), "succeeded"),
    "fail": (lambda store: finished(store, FAILED), "failed"),
    "end cancelled": (lambda store: finished(store, CANCELLED), "cancelled"),
    "cancel": (was_cancelled, "cancelled"),
    "expire": (has_expired, "expired"),
    "rescue, attempts used up": (rescued, "failed"),
    "rescue, cancelled": (lambda store: rescued(store, is_cancelled=True), "cancelled"),
    "purge what is queued": (purged, "cancelled"),
    "purge what waits": (purged_while_it_waits, "cancelled"),
}


@pytest.mark.parametrize("move, status", FINAL_MOVES.values(), ids=FINAL_MOVES)
async def test_a_final_status_brings_one_callback_about_and_its_doorbell(
    store: Store, move: Any, status: str
) -> None:
    task_id, moved = await move(store)

    [callback] = await callbacks_of(store, task_id)
    task = await store.tasks.get(task_id)
    told = orjson.loads(callback.payload)
    assert (told["task_id"], told["status"], told["attempt"]) == (str(task_id), status, task.attempt)
    assert webhooks.FinalTask.model_validate(told).finished_at == task.finished_at
    assert [(ring.task_id, ring.attempt, ring.queue) for ring in moved.rings] == [(callback.id, 1, "system")]
    assert await doorbells(store, callback.id) == [(callback.id, 1)]
    assert [moved_task.id for moved_task in moved.tasks] == [task_id]


async def test_a_callback_is_a_task_like_others_of_its_type(store: Store) -> None:
    task_id, _ = await finished(store, SUCCEEDED)

    [callback] = await callbacks_of(store, task_id)
    [claimed] = await claim(store, callback.id, types=[DELIVER_TYPE])

    info = registry.get(DELIVER_TYPE).info
    assert (callback.queue, callback.max_attempts) == (info.queue, info.max_attempts)
    assert callback.timeout_s == info.timeout_s
    assert callback.callback_url is None
    assert claimed.status == "running"


@pytest.mark.parametrize("outcome", [RETRYING, RETURNED])
async def test_an_attempt_that_is_not_the_last_calls_nobody(store: Store, outcome: Any) -> None:
    task_id, _ = await finished(store, outcome)

    assert await callbacks_of(store, task_id) == []


async def test_moves_that_are_not_final_call_nobody(store: Store) -> None:
    rescued_id, _ = await rescued(store, max_attempts=2)
    released_id = await retrying(store, callback_url=URL)
    await pass_time(store, 61)
    await store.lifecycle.release(10)
    asked_id = await running(store, callback_url=URL)
    moved = await store.lifecycle.cancel(asked_id)

    assert moved.rings == []
    for task_id in (rescued_id, released_id, asked_id):
        assert await callbacks_of(store, task_id) == []


@pytest.mark.parametrize("outcome", [SUCCEEDED, FAILED])
async def test_a_task_without_a_callback_url_calls_nobody(store: Store, outcome: Any) -> None:
    task_id = await running(store)

    moved = await finish(store, task_id, outcome)

    assert moved.rings == []
    assert await callbacks_of(store, task_id) == []


async def test_a_move_that_is_refused_or_repeated_calls_nobody_again(store: Store) -> None:
    task_id, _ = await finished(store, SUCCEEDED)

    again = await finish(store, task_id, SUCCEEDED)
    late = await finish(store, task_id, FAILED, worker="other")

    assert again.rings == late.rings == []
    assert len(await callbacks_of(store, task_id)) == 1


async def test_two_who_end_it_at_once_bring_one_callback_about(store: Store) -> None:
    for _ in range(10):
        task_id = await queued(store, callback_url=URL, expires_in_s=60.0)
        await execute(store, "UPDATE tasks SET expires_at = now() WHERE id = :id", id=task_id)

        await at_once(store.lifecycle.cancel(task_id), store.lifecycle.expire(10), purged(store))

        assert len(await callbacks_of(store, task_id)) == 1


async def test_a_task_that_is_renewed_calls_again_when_it_is_final_again(store: Store) -> None:
    task_id, _ = await finished(store, FAILED)

    await store.lifecycle.renew(task_id)
    await claim(store, task_id, attempt=2)
    await finish(store, task_id, SUCCEEDED, attempt=2)

    first, second = await callbacks_of(store, task_id)
    assert first.id != second.id
    assert [orjson.loads(callback.payload)["status"] for callback in (first, second)] == ["failed", "succeeded"]


async def test_a_move_that_is_rolled_back_leaves_no_callback(store: Store) -> None:
    task_id = await queued(store, callback_url=URL)
    await execute(
        store,
        """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no room'; END $$;""",
    )
    await execute(store, "CREATE TRIGGER refuse BEFORE INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION refuse()")

    with pytest.raises(Exception, match="no room"):
        await store.lifecycle.cancel(task_id)

    assert (await store.tasks.get(task_id)).status == "queued"
    assert await callbacks_of(store, task_id) == []


async def test_ids_that_sql_makes_are_of_version_7_and_sort_by_time(store: Store) -> None:
    before = int(time.time() * 1000)
    ids: list[UUID] = []
    for _ in range(3):
        async with store.database.read() as connection:
            ids += [new for (new,) in await connection.execute(text(f"SELECT {NEW_ID} FROM generate_series(1, 200)"))]
            await connection.execute(text("SELECT pg_sleep(0.003)"))
    after = int(time.time() * 1000)

    assert {(made.version, made.variant) for made in ids} == {(7, RFC_4122)}
    assert len(set(ids)) == 600
    milliseconds = [made.int >> 80 for made in ids]
    assert milliseconds == sorted(milliseconds)
    assert before <= milliseconds[0] <= milliseconds[-1] <= after
    assert max(ids[:200]) < min(ids[200:400]) < min(ids[400:])
    # Every other bit is random.
    assert {bit for made in ids for bit in range(62) if made.int >> bit & 1} == set(range(62))


def test_every_final_status_has_a_move_here() -> None:
    assert {status for _, status in FINAL_MOVES.values()} == set(FINAL)
