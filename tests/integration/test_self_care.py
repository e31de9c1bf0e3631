"""The built-in tasks by which Taskmill looks after itself, on a real database and a real worker."""

import csv
import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from shared.artifacts import ArtifactStore
from shared.domain.task import TaskRecord
from shared.errors import BrokerUnavailableError, CacheUnavailableError
from shared.ids import first_id_at
from shared.store.store import Store
from tests.builders import (
    cancelled,
    eventually,
    execute,
    expired,
    failed,
    gone_silent,
    pass_time,
    queued,
    running,
    scheduled,
    succeeded,
)
from tests.workers import Neighbours, Worker, run_worker
from worker_service.library import maintenance as maintenance
from worker_service.library import monitoring as monitoring

SYSTEM = {"system": 5}


@pytest.fixture
async def neighbours(module_database_url: str, store: Store, tmp_path: Path) -> Neighbours:
    return Neighbours(module_database_url, artifacts=ArtifactStore(tmp_path.as_uri()))


@pytest.fixture
async def worker(neighbours: Neighbours) -> AsyncIterator[Worker]:
    async with run_worker(neighbours, queues=SYSTEM) as started:
        yield started


async def run(worker: Worker, type_: str, payload: str = "{}") -> dict[str, Any]:
    """The result of a task that must succeed."""
    task = await worker.final(await worker.submit(type_, payload, queue="system"))
    assert task.status == "succeeded", task.error
    result: dict[str, Any] = json.loads(task.result or "null")
    return result


# monitoring.health_check ..............................................................


async def test_a_system_in_order_is_found_to_be(worker: Worker) -> None:
    found = await run(worker, "monitoring.health_check")

    assert found["state"] == "ok", found
    states = {check["name"]: check["state"] for check in found["checks"]}
    assert states == dict.fromkeys(
        ["postgresql", "broker", "cache", "workers", "queues", "outbox", "schedules", "disk"], "ok"
    )


async def test_each_finding_says_what_is_wrong(worker: Worker) -> None:
    await queued(worker.store, queue="nobody")
    await gone_silent(worker.store, "lost-one")
    await execute(
        worker.store,
        "INSERT INTO outbox (task_id, attempt, queue, priority, due_at)"
        " VALUES (gen_random_uuid(), 1, 'nobody', 'normal', now() - interval '5 minutes')",
    )

    found = await run(worker, "monitoring.health_check")

    assert found["state"] == "warning"
    findings = {check["name"]: check["detail"] for check in found["checks"] if check["state"] != "ok"}
    assert "nobody" in findings["queues"]
    assert "lost-one" in findings["workers"]
    assert found["checks"][0]["figures"]["latency_ms"] > 0


async def test_a_server_that_is_away_is_a_finding_and_no_failure(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_broker() -> None:
        raise BrokerUnavailableError("it is away")

    async def no_cache() -> None:
        raise CacheUnavailableError("it is away")

    monkeypatch.setattr(worker.broker, "ping", no_broker)
    monkeypatch.setattr(worker.news, "ping", no_cache)

    found = await run(worker, "monitoring.health_check")

    states = {check["name"]: check["state"] for check in found["checks"] if check["state"] != "ok"}
    assert (found["state"], states) == ("failed", {"broker": "failed", "cache": "warning"})


# monitoring.daily_metrics .............................................................


async def lived(store: Store, task_id: Any, created: datetime, waited_s: float, ran_s: float | None) -> None:
    """Let a task have been created then, waited and run so long."""
    await execute(
        store,
        "UPDATE tasks SET id = :made_id, created_at = :at, queued_at = :at,"
        " started_at = CAST(:at AS timestamptz) + make_interval(secs => :w),"
        " finished_at = CAST(:at AS timestamptz) + make_interval(secs => CAST(:w AS float8) + coalesce(:r, 0))"
        " WHERE id = :id",
        at=created, w=waited_s, r=ran_s, id=task_id, made_id=UUID(int=first_id_at(created).int + uuid4().int % 2**64),
    )  # fmt: skip


async def test_a_day_is_summed_up_by_type_and_queue(worker: Worker) -> None:
    store, noon = worker.store, datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
    yesterday = noon - timedelta(days=1)
    for seconds in (1, 2, 3, 4):
        await lived(store, await succeeded(store, type="probe.echo"), yesterday, seconds, seconds * 10)
    await lived(store, await failed(store), yesterday, 5, 50)
    await lived(store, await succeeded(store, queue="other"), yesterday, 0, 1)
    await lived(store, await succeeded(store), yesterday - timedelta(days=1), 1, 1)
    await lived(store, await succeeded(store), yesterday - timedelta(hours=13), 0, 3600 * 2)  # ended yesterday
    await lived(store, await succeeded(store), noon, 1, 1)

    task = await worker.final(await worker.submit("monitoring.daily_metrics", "{}", queue="system"))
    report = json.loads(task.result or "null")

    assert report["day"] == yesterday.date().isoformat()
    total, [first, second] = report["total"], report["rows"]
    assert (total["submitted"], total["succeeded"], total["failed"]) == (6, 6, 1)
    assert (first["type"], first["queue"], first["submitted"]) == ("probe.echo", "default", 5)
    assert (first["succeeded"], first["failed"], first["failure_rate"]) == (5, 1, round(1 / 6, 6))
    assert first["waiting_s"] == {"p50": 2.5, "p95": 4.75, "max": 5.0}
    assert first["running_s"]["p50"] == 35.0
    assert first["running_s"]["max"] == 7200.0
    assert (second["queue"], second["succeeded"], second["failure_rate"]) == ("other", 1, 0.0)
    assert report["truncated"] is False
    await _require_files(worker, task, report)


async def _require_files(worker: Worker, task: TaskRecord, report: dict[str, Any]) -> None:
    made = {made["name"]: made for made in json.loads(task.artifacts or "[]")}
    assert made.keys() == {"metrics.json", "metrics.csv"}
    files = worker.supervisor._artifacts
    texts = []
    async for page in files.stored():
        for found in page:
            chunks = await files.read(found.key, start=0, stop=10**6)
            texts.append(b"".join([chunk async for chunk in chunks]).decode())
    document = next(text for text in texts if text.startswith("{"))
    table = next(text for text in texts if not text.startswith("{"))
    assert json.loads(document) == report
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [row["type"] for row in rows] == ["(all)", "probe.echo", "probe.echo"]
    assert rows[1]["waiting_p95_s"] == "4.75"


async def test_a_day_on_which_nothing_happened_has_a_report_too(worker: Worker) -> None:
    report = await run(worker, "monitoring.daily_metrics", '{"day": "2020-02-29"}')

    assert (report["day"], report["rows"]) == ("2020-02-29", [])
    assert (report["total"]["submitted"], report["total"]["failure_rate"]) == (0, None)


@pytest.mark.parametrize("day", ['"0001-01-01"', '"9999-12-31"', '"2026-02-30"', "5e99"])
async def test_what_is_no_day_fails_for_good(worker: Worker, day: str) -> None:
    task = await worker.final(await worker.submit("monitoring.daily_metrics", f'{{"day": {day}}}', queue="system"))

    assert (task.status, task.attempt) == ("failed", 1)
    assert "/day" in json.loads(task.error or "{}")["message"]


# maintenance.cleanup ..................................................................


async def test_what_is_old_goes_and_what_is_not_final_stays(worker: Worker) -> None:
    store = worker.store
    old = [await make(store) for make in (succeeded, failed, cancelled, expired)]
    kept = [await queued(store), await scheduled(store)]
    held = await running(store, worker="a")
    await pass_time(store, 600, tables=["tasks", "dead_letters"])  # ids keep the time they were made at
    young = await succeeded(store)
    await gone_silent(store, "long gone", for_s=7200)

    cleaned = await run(worker, "maintenance.cleanup", '{"older_than_days": 0.002}')  # about 3 minutes

    left = {row.id for row in await execute(store, "SELECT id FROM tasks WHERE type <> 'maintenance.cleanup'")}
    assert left & {*old, *kept, held, young} >= {*kept, young}
    assert not left & set(old)
    assert cleaned["tasks"] == 4
    assert await execute(store, "SELECT id FROM workers WHERE id = 'long gone'") == []


async def test_more_than_a_round_holds_is_deleted_too(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker_service.forgetting.LIMIT", 3)
    for _ in range(8):
        await succeeded(worker.store)

    cleaned = await run(worker, "maintenance.cleanup", '{"older_than_days": 0}')

    assert cleaned["tasks"] == 8


# The schedules that come with it ......................................................


async def test_a_starting_worker_provides_the_built_in_schedules(neighbours: Neighbours) -> None:
    async with run_worker(neighbours, queues=SYSTEM, built_in_schedules=True) as worker:
        await eventually(lambda: _has_schedules(worker))

        made = await worker.store.schedules.page(limit=10)
        assert [schedule.name for schedule in made] == [
            "maintenance.cleanup", "monitoring.daily_metrics", "monitoring.health_check"]  # fmt: skip
        assert all(schedule.built_in for schedule in made)
        assert await execute(worker.store, "SELECT 1 FROM schedules WHERE next_run_at <= now()") == []


async def test_a_worker_runs_what_is_scheduled(neighbours: Neighbours) -> None:
    async with run_worker(neighbours, queues=SYSTEM, built_in_schedules=True) as worker:
        await eventually(lambda: _has_schedules(worker))
        await execute(
            worker.store,
            "UPDATE schedules SET cron = NULL, every_s = 1, next_run_at = now()"
            " WHERE name = 'monitoring.health_check'",
        )

        async def has_run() -> bool:
            runs = await worker.store.schedule_runs.last_runs(["monitoring.health_check"], limit=20)
            return sum(run.status == "succeeded" for run in runs["monitoring.health_check"]) >= 2

        await eventually(has_run, within_s=30)


async def _has_schedules(worker: Worker) -> bool:
    return bool(await worker.store.schedules.page(limit=1))
