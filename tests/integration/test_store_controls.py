"""Pausing, resuming, purging and replaying, as the store does it."""

import asyncio
from uuid import UUID

import pytest

from shared.broker.base import Message
from shared.broker.memory import MemoryBroker
from shared.domain.callback import DELIVER_TYPE
from shared.domain.message import Due
from shared.domain.status import WAITING, TaskStatus
from shared.domain.task import UniqueKey
from shared.errors import IllegalMoveError, QueueNotFoundError, WorkerNotFoundError
from shared.ids import new_task_id
from shared.pace import Pace
from shared.publisher import Publisher
from shared.resuming import ring_resumed
from shared.store.dead_letters import DeadLetterFilter
from shared.store.renewing import BulkReplay
from shared.store.statement import text
from shared.store.store import Store
from tests.builders import (
    FAILED,
    IN_STATUS,
    at_once,
    beat,
    claim,
    doorbells,
    execute,
    failed,
    finish,
    new_task,
    pass_time,
    queued,
    running,
    scheduled,
    status_of,
)
from worker_service.loops.reconcile import Reconcile

# Pausing ..............................................................................


async def test_no_task_of_a_paused_queue_is_claimed(store: Store) -> None:
    held, free = await queued(store), await queued(store, queue="other")
    await store.queues.pause("default")

    assert await claim(store, held) == []
    assert [task.id for task in await claim(store, free)] == [free]
    await store.queues.resume("default")
    assert [task.id for task in await claim(store, held)] == [held]


async def test_a_claim_whose_answer_was_lost_before_the_pause_is_found_again(store: Store) -> None:
    task_id = await running(store, worker="a")
    await store.queues.pause("default")

    assert [task.id for task in await claim(store, task_id, worker="a")] == [task_id]


async def test_a_running_task_of_a_paused_queue_finishes(store: Store) -> None:
    task_id = await running(store)
    await store.queues.pause("default")

    await finish(store, task_id, FAILED)

    assert await status_of(store, task_id) == "failed"


async def test_a_pause_keeps_its_beginning(store: Store) -> None:
    await store.queues.pause("default")
    first = (await store.queues.figures_of("default")).paused_at
    await store.queues.pause("default")

    assert first is not None
    assert (await store.queues.figures_of("default")).paused_at == first


async def test_what_is_claimed_before_the_pause_is_committed_has_started_before_it(store: Store) -> None:
    task_id = await queued(store)
    async with store.database.transaction() as connection:
        await connection.execute(text("SELECT 1 FROM queues FOR UPDATE"))  # the pause has begun, and waits
        pausing = asyncio.create_task(store.queues.pause("default"))
        done, _ = await asyncio.wait({pausing}, timeout=0.3)
        assert not done
        [task] = await claim(store, task_id)
    await pausing

    paused_at = (await store.queues.figures_of("default")).paused_at
    assert paused_at is not None
    assert task.started_at is not None
    assert task.started_at < paused_at


async def test_a_pause_whose_process_died_gets_its_beginning_when_it_is_asked_for_again(store: Store) -> None:
    await execute(store, "INSERT INTO queues (name, paused) VALUES ('default', true)")
    await store.queues.pause("default")

    assert (await store.queues.figures_of("default")).paused_at is not None


async def test_a_queue_can_be_paused_before_anybody_names_it(store: Store) -> None:
    await store.queues.pause("new")
    task_id = await queued(store, queue="new")

    assert await claim(store, task_id) == []


async def test_what_nobody_has_named_can_not_be_resumed(store: Store) -> None:
    with pytest.raises(QueueNotFoundError):
        await store.queues.resume("new")


async def test_a_paused_queue_has_not_drifted(store: Store) -> None:
    await queued(store)
    await pass_time(store, 120)
    await store.queues.pause("default")

    assert await store.queues.with_queued(older_than_s=60) == []


# Resuming .............................................................................


@pytest.fixture
def publisher(store: Store) -> Publisher:
    """One that has not been started: what it is offered stays in the outbox."""
    return Publisher(MemoryBroker(), store.outbox, Pace(store.task_types))


async def test_all_queued_tasks_of_a_resumed_queue_are_rung_for_once(
    store: Store, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.resuming._CHUNK", 2)
    rung_before = [await queued(store) for _ in range(3)]
    still_in_outbox = new_task()
    await store.submissions.accept([still_in_outbox])
    await queued(store, queue="other")
    await scheduled(store)
    await store.queues.pause("default")

    resumed = await store.queues.resume("default")
    assert resumed is not None
    assert await ring_resumed(store, publisher, resumed) == 4

    assert sorted(await doorbells(store)) == sorted((id_, 1) for id_ in [*rung_before, still_in_outbox.id])
    assert await store.queues.resumed(older_than_s=0) == []


async def test_the_doorbell_that_a_relay_holds_is_not_waited_for(store: Store, publisher: Publisher) -> None:
    await store.submissions.accept([new_task()])
    await pass_time(store, 60, tables=["outbox"])
    await store.queues.pause("default")
    resumed = await store.queues.resume("default")
    assert resumed is not None

    async with store.outbox.take_due(10) as batch, asyncio.timeout(5):
        assert await ring_resumed(store, publisher, resumed) == 1
        await batch.rung(batch.rings)

    assert len(await doorbells(store)) == 1


async def test_what_a_process_left_undone_when_it_died_is_known(store: Store, publisher: Publisher) -> None:
    await store.queues.pause("default")
    await store.queues.resume("default")

    [left] = await store.queues.resumed(older_than_s=0)
    assert await store.queues.resumed(older_than_s=60) == []
    assert await store.queues.resume("default") == left  # who asks again does it again
    await ring_resumed(store, publisher, left)
    assert await store.queues.resume("default") is None


async def test_a_worker_finishes_what_was_left_undone_whatever_waits_at_the_broker(
    store: Store, publisher: Publisher
) -> None:
    refused, broker = await queued(store), MemoryBroker()
    await store.queues.pause("default")
    await store.queues.resume("default")  # and the process dies
    await broker.publish([Message("default", "normal", (Due(new_task_id(), 1),))])

    await Reconcile(store, broker, publisher, older_than_s=0, interval_s=1).run_once()

    assert await doorbells(store) == [(refused, 1)]
    assert await store.queues.resumed(older_than_s=0) == []


async def test_a_pause_takes_back_what_a_resumption_left_undone(store: Store, publisher: Publisher) -> None:
    await queued(store)
    await store.queues.pause("default")
    first = await store.queues.resume("default")
    assert first is not None
    await store.queues.pause("default")

    assert await ring_resumed(store, publisher, first) == 0
    assert await store.queues.resumed(older_than_s=0) == []
    second = await store.queues.resume("default")
    await store.queues.rung(first)
    assert second is not None
    assert await store.queues.resumed(older_than_s=0) == [second]


# Purging ..............................................................................


async def purge(store: Store, queue: str = "default", *, limit: int = 100) -> list[UUID]:
    begun = await store.purges.begin(queue)
    purged: list[UUID] = []
    while (moved := await store.purges.next_chunk(begun, limit)).tasks:
        purged += [task.id for task in moved.tasks]
    return purged


@pytest.mark.parametrize("status", TaskStatus)
async def test_what_has_not_started_is_purged_and_nothing_else(store: Store, status: TaskStatus) -> None:
    task_id = await IN_STATUS[status](store)

    purged = await purge(store)

    assert purged == ([task_id] if status in WAITING else [])
    assert await status_of(store, task_id) == ("cancelled" if status in WAITING else status)


@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_a_purge_takes_all_chunk_by_chunk_and_each_once(store: Store, limit: int) -> None:
    ids = [await IN_STATUS[status](store) for status in sorted(WAITING) for _ in range(3)]
    other = await queued(store, queue="other")

    purged = await purge(store, limit=limit)

    assert sorted(purged) == sorted(ids)
    assert await status_of(store, other) == "queued"


async def test_what_is_born_after_the_purge_was_asked_for_stays(store: Store) -> None:
    begun = await store.purges.begin("default")
    task_id = await queued(store)

    assert (await store.purges.next_chunk(begun, 10)).tasks == []
    assert await status_of(store, task_id) == "queued"


async def test_what_is_released_during_the_purge_is_purged_too(store: Store) -> None:
    task_id = await scheduled(store)
    await scheduled(store, delay_s=1.0)
    begun = await store.purges.begin("default")
    await store.purges.next_chunk(begun, 1)
    await execute(store, "UPDATE tasks SET run_at = now() - interval '1 hour' WHERE id = :id", id=task_id)
    await store.lifecycle.release(10)

    [purged] = (await store.purges.next_chunk(begun, 10)).tasks

    assert purged.id == task_id


async def test_a_purge_waits_for_who_holds_a_row(store: Store) -> None:
    task_id = await scheduled(store)
    begun = await store.purges.begin("default")
    async with store.database.transaction() as connection:
        await connection.execute(text("UPDATE tasks SET status = 'queued', queued_at = now()"))
        purging = asyncio.create_task(purge_on(store, begun))
        done, _ = await asyncio.wait({purging}, timeout=0.3)
        assert not done

    assert await purging == [task_id]


async def purge_on(store: Store, begun: object) -> list[UUID]:
    purged: list[UUID] = []
    while (moved := await store.purges.next_chunk(begun, 10)).tasks:  # type: ignore[arg-type]
        purged += [task.id for task in moved.tasks]
    return purged


async def test_a_purge_releases_keys_and_bears_callbacks(store: Store) -> None:
    await queued(store, unique=UniqueKey(b"u"), callback_url="https://example.org/hook")

    begun = await store.purges.begin("default")
    moved = await store.purges.next_chunk(begun, 10)

    assert await execute(store, "SELECT 1 FROM task_keys WHERE open") == []
    [callback] = await execute(store, "SELECT id FROM tasks WHERE type = :type", type=DELIVER_TYPE)
    assert [ring.task_id for ring in moved.rings] == [callback.id]


async def test_claims_and_purges_share_the_tasks_between_them(store: Store) -> None:
    ids = [await queued(store) for _ in range(60)]

    claims = (claim(store, task_id) for task_id in ids)
    purges = (purge(store, limit=7) for _ in range(3))
    results = await at_once(*claims, *purges)

    assert not [result for result in results if isinstance(result, Exception)]
    claimed = [task.id for tasks in results[:60] for task in tasks]
    purged = [id_ for ids_ in results[60:] for id_ in ids_]
    assert sorted(claimed + purged) == sorted(ids)


# Draining .............................................................................


async def test_a_worker_learns_with_its_heartbeat_that_it_is_to_drain(store: Store) -> None:
    await beat(store, "a")
    assert (await store.workers.drain("a")).draining
    await beat(store, "a")

    [worker] = await store.workers.all()
    assert worker.draining
    assert (await store.queues.figures()) == []
    with pytest.raises(WorkerNotFoundError):
        await store.workers.drain("b")


# Replaying ............................................................................


async def test_a_bulk_replay_leaves_what_has_failed_since_it_was_asked_for(store: Store) -> None:
    task_id = await failed(store)
    _, before = await store.dead_letters.matching(DeadLetterFilter())
    bulk = BulkReplay(new_task_id(), before)

    moved = await store.lifecycle.renew(task_id, bulk=bulk)
    assert [task.status for task in moved.tasks] == ["queued"]
    await claim(store, task_id, attempt=2)
    await finish(store, task_id, FAILED, attempt=2)

    with pytest.raises(IllegalMoveError):
        await store.lifecycle.renew(task_id, bulk=bulk)
    assert await store.dead_letters.oldest(DeadLetterFilter(), before=before, limit=10) == []
    assert await store.marks.count(bulk.task_id) == 1


async def test_a_bulk_replay_leaves_what_was_discarded(store: Store) -> None:
    task_id = await failed(store)
    _, before = await store.dead_letters.matching(DeadLetterFilter())
    await store.dead_letters.discard(task_id)

    with pytest.raises(IllegalMoveError):
        await store.lifecycle.renew(task_id, bulk=BulkReplay(new_task_id(), before))
    assert await status_of(store, task_id) == "failed"


async def test_dead_letters_are_walked_through_from_the_oldest_on(store: Store) -> None:
    ids = [await failed(store, queue="default" if number % 2 else "other") for number in range(5)]
    number, before = await store.dead_letters.matching(DeadLetterFilter())

    first = await store.dead_letters.oldest(DeadLetterFilter(), before=before, limit=3)
    rest = await store.dead_letters.oldest(DeadLetterFilter(), before=before, limit=3, after=first[-1])
    others = await store.dead_letters.oldest(DeadLetterFilter(queue="other"), before=before, limit=9)

    assert number == 5
    assert [place.id for place in first + rest] == ids
    assert [place.task_id for place in others] == ids[::2]


async def test_a_renewed_task_gets_the_payload_it_was_given(store: Store) -> None:
    task_id = await failed(store, payload='{"n":"x"}')

    [task] = (await store.lifecycle.renew(task_id, payload='{"n":1}')).tasks

    assert task.payload == '{"n":1}'
