"""A deploy costs a task nothing: what a stopping worker does with what still runs."""

import asyncio

import pytest

from shared.store.store import Store
from tests import worker_handlers
from tests.builders import doorbells, execute, pass_time
from tests.workers import Neighbours, Worker, run_worker


@pytest.fixture
def neighbours(store: Store, module_database_url: str) -> Neighbours:
    return Neighbours(module_database_url)


async def begun(worker: Worker, *types: str) -> list[object]:
    ids = [await worker.submit(type_, "60") for type_ in types]
    for task_id in ids:
        await worker.begins(task_id)
    return list(ids)


async def test_what_runs_may_finish_within_the_grace(neighbours: Neighbours) -> None:
    async with run_worker(neighbours) as worker:
        task_id = await worker.submit("probe.loop", "1")
        await worker.begins(task_id)

        await worker.stopped()

        assert (await worker.store.tasks.get(task_id)).status == "succeeded"


async def test_what_does_not_finish_is_handed_back_with_its_attempt(
    neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker_service.executor.STOP_GRACE_S", 0.5)
    types = ["probe.loop", "probe.thread", "probe.process", "probe.stubborn_loop", "probe.stubborn_thread"]
    async with run_worker(neighbours, grace_s=0.2) as worker:
        ids = await begun(worker, *types)

        await worker.stopped()

        rows = await execute(worker.store, "SELECT id, status, attempt, errors FROM tasks")
        assert {row.id for row in rows} == set(ids)
        assert {(row.status, row.attempt, len(row.errors)) for row in rows} == {("queued", 0, 0)}
        assert await execute(worker.store, "SELECT 1 FROM workers") == []
        assert await worker.store.task_types.live_workers() == {}
        assert worker.supervisor.has_stuck_handlers()
        worker_handlers.released.set()


async def test_what_was_handed_back_runs_elsewhere(neighbours: Neighbours) -> None:
    async with run_worker(neighbours, grace_s=0.0) as first:
        task_id = await first.submit("probe.loop", "2")
        await first.begins(task_id)
        async with run_worker(neighbours) as second:
            await first.stopped()
            await pass_time(second.store, 60, tables=["outbox"])

            task = await second.final(task_id)

    assert (task.status, task.attempt, task.worker) == ("succeeded", 1, second.supervisor.worker_id)


async def test_a_second_signal_hands_back_without_waiting(neighbours: Neighbours) -> None:
    async with run_worker(neighbours, grace_s=3600.0) as worker:
        [task_id] = await begun(worker, "probe.loop")

        worker.hurry.set()
        await worker.stopped()

        [row] = await execute(worker.store, "SELECT id, status, attempt FROM tasks")
        assert (row.id, row.status, row.attempt) == (task_id, "queued", 0)
        assert neighbours.queues.queue("default").ready or await doorbells(worker.store)


async def test_a_cancel_request_beats_a_hand_back(neighbours: Neighbours) -> None:
    async with run_worker(neighbours, grace_s=0.0, heartbeat_s=30.0) as worker:
        [task_id] = await begun(worker, "probe.loop")
        await execute(worker.store, "UPDATE tasks SET cancel_requested = true")

        await worker.stopped()

        [row] = await execute(worker.store, "SELECT id, status FROM tasks")
        assert (row.id, row.status) == (task_id, "cancelled")


async def test_a_worker_that_is_stopped_before_it_started_ends(neighbours: Neighbours) -> None:
    async with run_worker(neighbours) as worker:
        worker.stop.set()

        assert worker.running is not None
        await asyncio.wait_for(worker.running, 10)


async def test_what_waits_behind_a_full_worker_is_left_to_others(neighbours: Neighbours) -> None:
    async with run_worker(neighbours, queues={"default": 1}, grace_s=0.0) as worker:
        [running] = await begun(worker, "probe.loop")
        waiting = [await worker.submit("probe.echo") for _ in range(5)]

        await worker.stopped()

        rows = await execute(worker.store, "SELECT id, status, attempt FROM tasks ORDER BY id")
        assert {row.id for row in rows} == {running, *waiting}
        assert {(row.status, row.attempt) for row in rows} == {("queued", 0)}
        # Unacked messages are ready again for whoever comes.
        assert len(neighbours.queues.queue("default").ready) >= 5
