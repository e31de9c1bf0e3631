"""Handlers in processes of their own: they end, are stopped, and die."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.domain.task import TaskRecord
from shared.store.store import Store
from tests import slow_module
from tests.workers import Neighbours, Worker, run_worker


@pytest.fixture
async def worker(store: Store, module_database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Worker]:
    monkeypatch.setattr("worker_service.executor.STOP_GRACE_S", 0.5)
    async with run_worker(Neighbours(module_database_url)) as running:
        yield running


def error_of(task: TaskRecord) -> dict[str, Any]:
    assert task.error is not None
    error: dict[str, Any] = json.loads(task.error)
    return error


async def test_a_process_that_dies_is_only_that_attempts_failure(worker: Worker) -> None:
    before = await worker.final(await worker.submit("probe.pid"))
    kinds = {}
    for way in ("exit", "kill", "sys.exit"):
        kinds[way] = error_of(await worker.final(await worker.submit("probe.dies", f'"{way}"')))["kind"]
    after = await worker.final(await worker.submit("probe.pid"))

    assert kinds == {"exit": "process_died", "kill": "process_died", "sys.exit": "SystemExit"}
    assert (before.status, after.status) == ("succeeded", "succeeded")
    assert before.result != after.result


async def test_starting_a_process_takes_no_time_of_the_attempt(store: Store, module_database_url: str) -> None:
    neighbours = Neighbours(module_database_url)
    async with run_worker(neighbours, modules=["tests.slow_module"]) as worker:
        task_id = await worker.submit("slow_module.echo", timeout_s=slow_module.IMPORT_S / 2)

        task = await worker.final(task_id)
        assert (task.status, task.attempt) == ("succeeded", 1)


async def test_a_function_of_a_module_that_did_not_make_it_a_task_is_found(worker: Worker) -> None:
    task = await worker.final(await worker.submit("probe.borrowed", '{"seconds": 0.01}'))

    assert (task.status, task.error) == ("succeeded", None)


async def test_a_process_ends_at_100_percent_even_if_it_ends_at_once(worker: Worker) -> None:
    for _ in range(10):
        task = await worker.final(await worker.submit("probe.pid"))

        assert task.progress is not None
        assert json.loads(task.progress)["percent"] == 100.0


async def test_processes_are_stopped_by_timeout_and_cancel_whether_they_listen_or_not(worker: Worker) -> None:
    await worker.final(await worker.submit("probe.pid"))  # the pool is there

    soft = await worker.final(await worker.submit("probe.soft_process", soft_timeout_s=0.3))
    assert (soft.status, soft.result) == ("succeeded", '"in good order"')

    hard = await worker.final(await worker.submit("probe.stubborn_process", "60", timeout_s=1.0))
    assert (hard.status, error_of(hard)["kind"]) == ("failed", "timeout")

    for type_ in ("probe.process", "probe.stubborn_process"):
        task_id = await worker.submit(type_, "60")
        await worker.begins(task_id)
        await worker.cancel(task_id)
        assert (await worker.final(task_id)).status == "cancelled"

    assert (await worker.final(await worker.submit("probe.pid"))).status == "succeeded"


async def test_a_task_that_waits_for_a_process_is_cancelled_at_once(worker: Worker) -> None:
    busy = await worker.submit("probe.process", "60")
    await worker.begins(busy)
    waiting = await worker.submit("probe.process", "60")
    await worker.reaches(waiting, "running".__eq__)

    await worker.cancel(waiting)

    assert (await worker.final(waiting)).status == "cancelled"
    assert (await worker.store.tasks.get(busy)).status == "running"
