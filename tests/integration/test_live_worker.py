"""What a worker tells of its tasks while they run."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from shared.events.base import Event
from tests.builders import empty, open_store
from tests.workers import PATIENCE_S, Neighbours, Worker, run_worker


@pytest.fixture
async def neighbours(module_database_url: str) -> Neighbours:
    async with open_store(module_database_url) as store:
        await empty(store)
    return Neighbours(module_database_url)


@pytest.fixture
async def worker(neighbours: Neighbours) -> AsyncIterator[Worker]:
    async with run_worker(neighbours) as running:
        yield running


async def told(neighbours: Neighbours, task_id: UUID) -> list[Event]:
    events = [event async for batch in neighbours.events.replay("0-0-0") for event in batch]
    return [event for event in events if event.task_id == task_id]


def said(events: list[Event]) -> list[Any]:
    return [event.data.get("number") for event in events if event.kind == "log"]


@pytest.mark.parametrize(
    "type_, payload, numbers",
    [("probe.says", "7", [7, 7]), ("probe.says_in_thread", "7", [7]), ("probe.says_in_process", "3", [0, 1, 2])],
)
async def test_lines_of_any_kind_of_handler_are_told_before_its_end(
    neighbours: Neighbours, worker: Worker, type_: str, payload: str, numbers: list[int]
) -> None:
    task_id = await worker.submit(type_, payload)

    await worker.final(task_id)
    await worker.stopped()

    events = await told(neighbours, task_id)
    assert said(events) == numbers
    assert [event.data["status"] for event in events if event.kind == "status"] == ["running", "succeeded"]
    assert events[-1].kind == "status"
    line = next(event for event in events if event.kind == "log")
    assert line.data["event"] == "said"
    assert line.data["attempt"] == 1
    assert line.data["level"] in ("info", "warning")


async def test_a_torrent_out_of_a_process_is_cut(neighbours: Neighbours, worker: Worker) -> None:
    task_id = await worker.submit("probe.says_in_process", "20000")

    await worker.final(task_id)
    await worker.stopped()

    lines = [event.data for event in await told(neighbours, task_id) if event.kind == "log"]
    dropped = sum(line.get("dropped", 0) for line in lines)
    assert 100 <= len(lines) < 2_000
    assert dropped + sum(line["event"] == "said" for line in lines) == 20_000
    assert lines[0]["odd"] == "<class 'object'>"


async def test_lines_are_told_while_the_handler_still_runs(neighbours: Neighbours, worker: Worker) -> None:
    task_id = await worker.submit("probe.says_and_waits", "0")

    await _heard(neighbours, task_id, "log")

    assert (await worker.store.tasks.get(task_id)).status == "running"


async def test_progress_is_told_as_an_object(neighbours: Neighbours, worker: Worker) -> None:
    task_id = await worker.submit("probe.says_and_waits", "0")

    progress = await _heard(neighbours, task_id, "progress")

    assert progress.data["progress"] == {"done": 1.0, "total": 4.0, "percent": 25.0, "message": "waiting"}


async def _heard(neighbours: Neighbours, task_id: UUID, kind: str) -> Event:
    """The first event of that kind about the task: nothing durable says when it is told."""
    async with asyncio.timeout(PATIENCE_S):
        async for batch in neighbours.events.follow("0-0-0"):
            for event in batch:
                if event.kind == kind and event.task_id == task_id:
                    return event
    raise AssertionError("the news have ended")


async def test_waiting_and_running_times_are_counted_once(neighbours: Neighbours, worker: Worker) -> None:
    for task_id in await worker.submit_all([{"type": "probe.echo"}] * 5 + [{"type": "probe.permanent"}]):
        await worker.final(task_id)
    await worker.stopped()

    counted: dict[tuple[str, str], int] = {}
    for minute in await neighbours.cache.minutes(5):
        for place, buckets in minute.durations.items():
            counted[place] = counted.get(place, 0) + sum(buckets.values())
    assert counted == {("default", "waiting"): 6, ("default", "running"): 6}
