"""Doorbells that still have to ring."""

from uuid import uuid4

import pytest

from shared.domain.message import Due
from shared.domain.ring import Ring
from shared.domain.status import TaskStatus
from shared.store.store import Store
from tests.builders import IN_STATUS, TYPE, at_once, doorbells, execute, new_task, pass_time, queued, running


async def born(store: Store, count: int = 1, queue: str = "default") -> list[Ring]:
    return (await store.submissions.accept([new_task(queue=queue) for _ in range(count)])).rings


async def due_in_s(store: Store) -> list[float]:
    rows = await execute(store, "SELECT extract(epoch FROM due_at - now())::float8 AS s FROM outbox ORDER BY due_at")
    return [row.s for row in rows]


async def test_a_confirmed_doorbell_is_forgotten(store: Store) -> None:
    first, second = await born(store, 2)

    await store.outbox.delete([first])

    assert await doorbells(store) == [(second.task_id, 1)]


async def test_the_relay_leaves_a_fresh_doorbell_to_whoever_made_it(store: Store) -> None:
    [ring] = await born(store)

    async with store.outbox.take_due(10) as batch:
        assert batch.rings == []
    await pass_time(store, 6)
    async with store.outbox.take_due(10) as batch:
        assert batch.rings == [ring]


async def test_what_was_rung_is_deleted_with_the_transaction_and_the_rest_stays(store: Store) -> None:
    first, second = await born(store, 2)
    await pass_time(store, 6)

    async with store.outbox.take_due(10) as batch:
        await batch.rung([first])

    assert await doorbells(store) == [(second.task_id, 1)]


async def test_a_relay_that_fails_loses_no_doorbell(store: Store) -> None:
    rings = await born(store, 2)
    await pass_time(store, 6)

    async def fail_half_way() -> None:
        async with store.outbox.take_due(10) as batch:
            await batch.rung(rings)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_half_way()

    assert len(await doorbells(store)) == 2


async def test_two_relays_at_once_hold_different_doorbells(store: Store) -> None:
    rings = await born(store, 4)
    await pass_time(store, 6)

    async with store.outbox.take_due(3) as one, store.outbox.take_due(3) as other:
        assert (len(one.rings), len(other.rings)) == (3, 1)
        assert sorted(one.rings + other.rings) == sorted(rings)


async def test_queued_tasks_without_a_doorbell_are_rung_again(store: Store) -> None:
    lost = await queued(store)
    waiting = (await born(store))[0].task_id
    elsewhere = await queued(store, queue="other")
    await pass_time(store, 61, tables=["tasks"])
    young = await queued(store)

    rings = await store.outbox.ring_again("default", older_than_s=60, limit=10)

    assert [(ring.task_id, ring.attempt) for ring in rings] == [(lost, 1)]
    assert {lost, waiting} == {task_id for task_id, _ in await doorbells(store)}
    assert not {young, elsewhere} & {ring.task_id for ring in rings}


@pytest.mark.parametrize("status", sorted(frozenset(TaskStatus) - {TaskStatus.QUEUED}))
async def test_only_queued_tasks_are_rung_for(store: Store, status: TaskStatus) -> None:
    task_id = await IN_STATUS[status](store)
    await execute(store, "UPDATE tasks SET queued_at = now() - interval '1 hour'")
    attempt = (await store.tasks.get(task_id)).attempt + 1

    assert await store.outbox.ring_again("default", older_than_s=60, limit=10) == []
    assert await store.outbox.ring_queued([Due(task_id, attempt)]) == 0
    assert await store.outbox.postpone_unknown([Due(task_id, attempt)], ["another.type"]) == 0
    assert await doorbells(store) == []


async def test_no_more_are_rung_again_than_the_limit(store: Store) -> None:
    for _ in range(3):
        await queued(store)

    assert len(await store.outbox.ring_again("default", older_than_s=0, limit=2)) == 2


async def test_an_unknown_type_is_rung_for_later(store: Store) -> None:
    task_id = await queued(store)

    assert await store.outbox.postpone_unknown([Due(task_id, 1)], ["another.type"]) == 1

    assert await doorbells(store) == [(task_id, 1)]
    [delay_s] = await due_in_s(store)
    assert 1 < delay_s <= 2


async def test_the_longer_a_type_is_unknown_the_longer_the_pause_up_to_a_limit(store: Store) -> None:
    task_id = await queued(store)
    await pass_time(store, 40, tables=["tasks"])
    await store.outbox.postpone_unknown([Due(task_id, 1)], [])
    await pass_time(store, 3600, tables=["tasks"])
    await store.outbox.postpone_unknown([Due(task_id, 1)], [])

    first, second = await due_in_s(store)

    assert 9 < first < 12
    assert 28 < second <= 30


async def test_a_known_type_or_another_attempt_is_not_postponed(store: Store) -> None:
    task_id = await queued(store)

    assert await store.outbox.postpone_unknown([Due(task_id, 1)], [TYPE]) == 0
    assert await store.outbox.postpone_unknown([Due(task_id, 2), Due(uuid4(), 1)], []) == 0
    assert await doorbells(store) == []


async def test_a_message_that_died_is_rung_afresh_for_what_is_still_queued(store: Store) -> None:
    waiting, started = await queued(store), await running(store)

    assert await store.outbox.ring_queued([Due(waiting, 1), Due(waiting, 2), Due(started, 1), Due(started, 2)]) == 1

    assert await doorbells(store) == [(waiting, 1)]
    async with store.outbox.take_due(10) as batch:
        assert [ring.task_id for ring in batch.rings] == [waiting]


async def test_two_reconcilers_at_once_ring_at_most_twice(store: Store) -> None:
    task_id = await queued(store)

    await at_once(*(store.outbox.ring_again("default", older_than_s=0, limit=10) for _ in range(2)))

    assert 1 <= len(await doorbells(store, task_id)) <= 2
