"""Workers and the wishes of operators: paused queues, draining, and the replay of dead letters."""

import asyncio
import json
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest

import worker_service.library.replaying  # noqa: F401 - its task is to be known
from shared.broker.base import Message
from shared.domain.message import Due
from shared.domain.task import TaskRecord, UniqueKey
from shared.resuming import ring_resumed
from shared.store.dead_letters import DeadLetterFilter
from shared.store.store import Store
from tests import worker_handlers
from tests.builders import eventually, execute, failed, queued, status_of
from tests.workers import Neighbours, Worker, run_worker


@pytest.fixture
def neighbours(store: Store, module_database_url: str) -> Neighbours:
    worker_handlers.seen.clear()
    return Neighbours(module_database_url)


async def resume(worker: Worker) -> None:
    resumed = await worker.store.queues.resume("default")
    assert resumed is not None
    await ring_resumed(worker.store, worker.publisher, resumed)


# Hoarding .............................................................................


async def test_what_came_as_short_and_is_long_is_left_to_other_workers(neighbours: Neighbours) -> None:
    async with run_worker(neighbours, queues={"default": 2}) as first:
        ids = [await queued(first.store, type="probe.loop", payload="60") for _ in range(6)]
        await first.broker.publish([Message("default", "normal", tuple(Due(task_id, 1) for task_id in ids))])
        await eventually(lambda: _run_by(first, 2))

        async with run_worker(neighbours, queues={"default": 10}) as second:
            await eventually(lambda: _run_by(second, 4))


async def _run_by(worker: Worker, number: int) -> bool:
    rows = await execute(worker.store, "SELECT worker FROM tasks WHERE status = 'running'")
    return [row.worker for row in rows].count(worker.supervisor.worker_id) == number


# Pausing ..............................................................................


async def test_tasks_that_were_refused_run_after_the_pause(neighbours: Neighbours) -> None:
    async with run_worker(neighbours) as worker:
        await worker.store.queues.pause("default")
        ids = await worker.submit_all([{"type": "probe.echo", "payload": "1"}] * 5)
        await eventually(lambda: messages_are_gone(worker))
        assert [await status_of(worker.store, task_id) for task_id in ids] == ["queued"] * 5

        await resume(worker)

        assert [(await worker.final(task_id)).attempt for task_id in ids] == [1] * 5


async def messages_are_gone(worker: Worker) -> bool:
    """Whether each message was taken and acked."""
    outbox = await execute(worker.store, "SELECT 1 FROM outbox")
    queue = worker.broker.queues.queue("default")
    return not (outbox or queue.ready) and bool(queue.consumers) and not any(c._in_hand for c in queue.consumers)


async def test_nothing_starts_in_a_pause_and_everything_is_done_after_the_last(neighbours: Neighbours) -> None:
    random = Random(7)
    pauses: list[tuple[datetime, datetime]] = []
    async with (
        run_worker(neighbours) as worker,
        run_worker(neighbours),
        run_worker(neighbours, queues={"default": 2}),
    ):
        ids: list[UUID] = []
        for _ in range(12):
            paused_at = await pause_at(worker, random)
            ids += await submit_some(worker, random)
            pauses.append((paused_at, await end_of_pause(worker)))
            await resume(worker)
            ids += await submit_some(worker, random)
        tasks = [await worker.final(task_id) for task_id in ids]

    assert {(task.status, task.attempt) for task in tasks} == {("succeeded", 1)}
    assert not [
        (task.started_at, pause) for task in tasks for pause in pauses if task.started_at and inside(task, pause)
    ]


async def pause_at(worker: Worker, random: Random) -> datetime:
    await asyncio.sleep(random.uniform(0, 0.05))
    await worker.store.queues.pause("default")
    paused_at = (await worker.store.queues.figures_of("default")).paused_at
    assert paused_at is not None
    await asyncio.sleep(random.uniform(0, 0.05))
    return paused_at


async def end_of_pause(worker: Worker) -> datetime:
    """A moment at which the pause is still on, and well before it ends: `started_at` is when the claim's
    transaction began, and what it sees is a bit younger."""
    [row] = await execute(worker.store, "SELECT now()")
    await asyncio.sleep(0.05)
    moment: datetime = row.now
    return moment


async def submit_some(worker: Worker, random: Random) -> list[UUID]:
    return await worker.submit_all([{"type": "probe.echo"}] * random.randint(0, 30))


def inside(task: TaskRecord, pause: tuple[datetime, datetime]) -> bool:
    assert task.started_at is not None
    return pause[0] <= task.started_at < pause[1]


# Draining .............................................................................


async def drain(worker: Worker) -> None:
    await eventually(lambda: is_listed(worker, draining=False, consuming=True))
    await worker.store.workers.drain(worker.supervisor.worker_id)
    await worker.news.hurry_workers()


async def test_a_draining_worker_finishes_what_it_runs_and_hands_back_what_it_fetched(neighbours: Neighbours) -> None:
    async with run_worker(neighbours, queues={"default": 1}, heartbeat_s=30.0) as first:
        running = await first.submit("probe.loop", "1")
        await first.begins(running)
        fetched = [await first.submit("probe.echo") for _ in range(3)]
        await drain(first)
        await eventually(lambda: is_listed(first, draining=True, consuming=False))
        async with run_worker(neighbours, queues={"default": 5}) as second:
            others = [await second.final(task_id) for task_id in fetched]
            task = await first.final(running)

    assert (task.status, task.attempt, task.worker) == ("succeeded", 1, first.supervisor.worker_id)
    assert {(other.status, other.attempt, other.worker) for other in others} == {
        ("succeeded", 1, second.supervisor.worker_id)
    }


async def test_what_was_delivered_together_with_what_runs_is_handed_back(
    neighbours: Neighbours, store: Store
) -> None:
    running = await queued(store, type="probe.loop", payload="30", max_attempts=1)
    behind = [await queued(store, type="probe.echo") for _ in range(3)]
    async with run_worker(neighbours, queues={"default": 1}) as first:
        await first.broker.publish([Message("default", "normal", tuple(Due(id_, 1) for id_ in [running, *behind]))])
        await first.begins(running)
        await drain(first)
        async with run_worker(neighbours, queues={"default": 5}) as second:
            workers = {(await second.final(task_id)).worker for task_id in behind}

        assert workers == {second.supervisor.worker_id}
        assert await status_of(store, running) == "running"
        await first.cancel(running)


async def is_listed(worker: Worker, *, draining: bool, consuming: bool) -> bool:
    mine = [view for view in await worker.store.workers.all() if view.id == worker.supervisor.worker_id]
    consumers = worker.broker.queues.queue("default").consumers
    return [view.draining for view in mine] == [draining] and bool(consumers) == consuming


async def test_a_draining_worker_stays_healthy_and_does_its_other_duties(neighbours: Neighbours) -> None:
    async with run_worker(neighbours) as worker:
        await drain(worker)
        await eventually(lambda: is_listed(worker, draining=True, consuming=False))
        [task_id] = await worker.submit_all([{"type": "probe.echo", "delay_s": 0.1}])

        task = await worker.reaches(task_id, "queued".__eq__)  # its release loop goes on
        await asyncio.sleep(1.2)  # longer than its look at its own health takes
        [view] = await worker.store.workers.all()

        assert (view.healthy, view.stopping, view.stale, view.running) == (True, False, False, 0)
        assert (await worker.store.tasks.get(task.id)).status == "queued"


async def test_a_draining_worker_that_is_forgotten_says_it_again(neighbours: Neighbours) -> None:
    async with run_worker(neighbours) as worker:
        await drain(worker)
        await eventually(lambda: is_listed(worker, draining=True, consuming=False))
        await worker.store.workers.forget_all()

        await eventually(lambda: is_listed(worker, draining=True, consuming=False))


# Replaying ............................................................................


async def replay(worker: Worker, *, per_second: float = 1000.0, **wanted: Any) -> UUID:
    _, before = await worker.store.dead_letters.matching(DeadLetterFilter())
    payload = {**wanted, "before": before.isoformat(), "per_second": per_second}
    return await worker.submit("system.replay", json.dumps(payload))


def result_of(task: TaskRecord) -> dict[str, Any]:
    assert task.status == "succeeded", task.error
    result: dict[str, Any] = json.loads(task.result or "null")
    return result


async def test_matching_dead_letters_are_replayed_and_the_rest_is_left(neighbours: Neighbours, store: Store) -> None:
    wanted = [await failed(store, type="probe.echo", queue="default") for _ in range(3)]
    left = await failed(store, type="probe.echo", queue="elsewhere")
    async with run_worker(neighbours) as worker:
        done = await worker.final(await replay(worker, queue="default"))
        tasks = [await worker.final(task_id) for task_id in wanted]

    assert result_of(done) == {
        "matching": 3, "replayed": 3, "skipped": {"unreadable": 0, "unique_conflict": 0, "moved_on": 0},
    }  # fmt: skip
    assert {task.status for task in tasks} == {"succeeded"}
    assert await status_of(store, left) == "failed"
    assert json.loads(done.progress or "{}")["percent"] == 100


async def test_what_can_not_be_replayed_is_skipped_and_counted(neighbours: Neighbours, store: Store) -> None:
    await store.dead_letters.record_unreadable(b"\xff", queue="default", reason="malformed")
    dead = await failed(store, unique=UniqueKey(b"u"))
    async with run_worker(neighbours) as worker:
        # One that keeps the key for itself.
        await worker.submit_all([{"type": "probe.echo", "unique": UniqueKey(b"u"), "delay_s": 3600.0}])
        done = await worker.final(await replay(worker))

    assert result_of(done)["skipped"] == {"unreadable": 1, "unique_conflict": 1, "moved_on": 0}
    assert result_of(done)["replayed"] == 0
    assert await status_of(store, dead) == "failed"


async def test_a_task_that_fails_again_is_not_replayed_again(neighbours: Neighbours, store: Store) -> None:
    async with run_worker(neighbours) as worker:
        ids = await worker.submit_all([{"type": "probe.permanent"}] * 5)
        for task_id in ids:
            await worker.final(task_id)
        done = await worker.final(await replay(worker))

        async def all_are_dead_again() -> bool:
            number, _ = await worker.store.dead_letters.matching(DeadLetterFilter())
            return number == 5

        await eventually(all_are_dead_again)

    assert result_of(done)["replayed"] == 5
    assert {(await store.tasks.get(task_id)).attempt for task_id in ids} == {2}


async def test_a_replay_is_no_faster_than_it_was_told_to_be(neighbours: Neighbours, store: Store) -> None:
    for _ in range(11):
        await failed(store, type="probe.echo")
    async with run_worker(neighbours) as worker:
        done = await worker.final(await replay(worker, per_second=10))

    assert result_of(done)["replayed"] == 11
    assert done.finished_at is not None
    assert done.started_at is not None
    assert done.finished_at - done.started_at >= timedelta(seconds=1)


@pytest.mark.parametrize(
    "field",
    [{"before": "9999-12-31T23:59:59-23:59"}, {"before": "today"}, {"type": "a\x00"}, {"per_second": 0}],
)
async def test_a_replay_that_nobody_could_do_fails_at_once(neighbours: Neighbours, field: dict[str, Any]) -> None:
    payload = {"before": "2030-01-01T00:00:00Z", "per_second": 1, **field}
    async with run_worker(neighbours) as worker:
        task = await worker.final(await worker.submit("system.replay", json.dumps(payload)))

    assert (task.status, task.attempt) == ("failed", 1)
    assert json.loads(task.error or "null")["kind"] == "invalid_payload"


async def test_a_replay_can_be_cancelled(neighbours: Neighbours, store: Store) -> None:
    for _ in range(5):
        await failed(store, type="probe.echo")
    async with run_worker(neighbours) as worker:
        task_id = await replay(worker, per_second=0.1)
        await worker.begins(task_id)
        await worker.cancel(task_id)

        assert (await worker.final(task_id)).status == "cancelled"
    number, _ = await store.dead_letters.matching(DeadLetterFilter())
    assert number == 4
