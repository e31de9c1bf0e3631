"""What becomes of a task on a real worker, whatever its handler does."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import structlog

from shared.broker.base import Message
from shared.broker.memory import _Letter
from shared.domain.message import Due
from shared.domain.status import is_final
from shared.domain.task import TaskRecord
from shared.ids import new_task_id
from shared.store.store import Store
from tests import worker_handlers
from tests.builders import doorbells, eventually, execute, pass_time
from tests.workers import Neighbours, Worker, run_worker
from worker_service.registry import Registry, registry


@pytest.fixture
def neighbours(store: Store, module_database_url: str) -> Neighbours:
    worker_handlers.seen.clear()
    return Neighbours(module_database_url)


@pytest.fixture
async def worker(neighbours: Neighbours) -> AsyncIterator[Worker]:
    async with run_worker(neighbours) as running:
        yield running


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Handlers are given up soon after they were told to end."""
    monkeypatch.setattr("worker_service.executor.STOP_GRACE_S", 0.3)


def error_of(task: TaskRecord) -> dict[str, Any]:
    assert task.error is not None
    error: dict[str, Any] = json.loads(task.error)
    return error


# Ends .................................................................................


async def test_a_task_succeeds_with_its_result(worker: Worker) -> None:
    task = await worker.final(await worker.submit("probe.echo", '{"big":123456789012345678901234567890}'))

    assert (task.status, task.result, task.attempt) == ("succeeded", '{"big":123456789012345678901234567890}', 1)
    assert task.worker == worker.supervisor.worker_id

    async def no_doorbell_is_left() -> bool:
        return await doorbells(worker.store) == []

    await eventually(no_doorbell_is_left)


async def test_a_task_that_fails_is_tried_again_until_it_succeeds(worker: Worker) -> None:
    task = await worker.final(await worker.submit("probe.attempts", "2"))

    assert (task.status, task.result, task.attempt, task.error) == ("succeeded", "3", 3, None)
    assert [json.loads(error)["message"] for error in task.errors] == ["attempt 1", "attempt 2"]


async def test_a_task_that_uses_up_its_attempts_fails(worker: Worker) -> None:
    task = await worker.final(await worker.submit("probe.attempts", "9"))

    assert (task.status, task.attempt, len(task.errors)) == ("failed", 3, 3)
    assert error_of(task)["kind"] == "OSError"
    assert (await worker.store.dead_letters.get(task.id)).reason == "OSError"


async def test_a_permanent_failure_spends_no_other_attempt(worker: Worker) -> None:
    task = await worker.final(await worker.submit("probe.permanent"))

    assert (task.status, task.attempt, error_of(task)["kind"]) == ("failed", 1, "permanent")


async def test_a_handler_chooses_when_it_is_tried_again(worker: Worker) -> None:
    task_id = await worker.submit("probe.retry_after", "120")

    task = await worker.reaches(task_id, "retrying".__eq__)

    assert task.run_at is not None
    assert timedelta(seconds=100) < task.run_at - datetime.now(UTC) < timedelta(seconds=121)
    assert error_of(task)["kind"] == "retry"


@pytest.mark.parametrize("payload", ['{"n":"x"}', "null", "[]"])
async def test_a_payload_that_does_not_fit_fails_for_good(worker: Worker, payload: str) -> None:
    task = await worker.final(await worker.submit("probe.count", payload))

    assert (task.status, task.attempt, error_of(task)["kind"]) == ("failed", 1, "invalid_payload")


@pytest.mark.parametrize("what", ["nan", "surrogate", "object", "huge", "deep"])
async def test_a_result_that_can_not_be_kept_fails_for_good(worker: Worker, what: str) -> None:
    task = await worker.final(await worker.submit("probe.bad_result", f'"{what}"'))

    assert (task.status, task.attempt, error_of(task)["kind"]) == ("failed", 1, "invalid_result")


async def test_words_that_can_not_be_stored_are_made_storable(worker: Worker) -> None:
    task = await worker.final(await worker.submit("probe.bad_words"))

    assert (task.status, error_of(task)["message"]) == ("failed", "NUL \\0 and half a pair ?")


@pytest.mark.parametrize(
    "type_, kind",
    [
        ("probe.cancels_itself", "CancelledError"),
        ("probe.exits", "SystemExit"),
        ("probe.exits_in_thread", "SystemExit"),
    ],
)
async def test_a_handler_that_pulls_the_rug_only_fails_itself(worker: Worker, type_: str, kind: str) -> None:
    task = await worker.final(await worker.submit(type_))

    assert (task.status, error_of(task)["kind"]) == ("failed", kind)
    assert (await worker.final(await worker.submit("probe.echo"))).status == "succeeded"


async def test_progress_is_kept_at_its_last_report(worker: Worker) -> None:
    task = await worker.final(await worker.submit("probe.progress"))

    assert task.progress is not None
    assert json.loads(task.progress) == {"done": 10.0, "total": 10.0, "percent": 100.0, "message": "step 10"}


async def test_progress_is_shown_while_a_task_runs(worker: Worker) -> None:
    task_id = await worker.submit("probe.loop", "30")

    await worker.begins(task_id)

    task = await worker.store.tasks.get(task_id)
    assert (task.status, json.loads(task.progress or "null")["percent"]) == ("running", 50.0)


# Limits ...............................................................................


@pytest.mark.parametrize("type_", ["probe.loop", "probe.thread"])
async def test_an_attempt_is_stopped_at_its_hard_timeout(worker: Worker, type_: str) -> None:
    task = await worker.final(await worker.submit(type_, "60", timeout_s=0.2))

    assert (task.status, error_of(task)["kind"]) == ("failed", "timeout")
    assert "0.2 s" in error_of(task)["message"]


async def test_the_soft_timeout_lets_a_coroutine_end_in_good_order(worker: Worker) -> None:
    task = await worker.final(await worker.submit("probe.soft_loop", soft_timeout_s=0.1))

    assert (task.status, task.result) == ("succeeded", '"in good order"')


async def test_the_soft_timeout_ends_a_thread_that_asks(worker: Worker) -> None:
    task = await worker.final(await worker.submit("probe.soft_thread", soft_timeout_s=0.1))

    assert (task.status, error_of(task)["kind"]) == ("failed", "SoftTimeout")


@pytest.mark.parametrize("type_", ["probe.loop", "probe.thread"])
async def test_a_running_task_is_cancelled(worker: Worker, type_: str) -> None:
    task_id = await worker.submit(type_, "60")
    await worker.begins(task_id)

    await worker.cancel(task_id)

    task = await worker.final(task_id)
    assert (task.status, task.error, task.errors) == ("cancelled", None, [])


async def test_a_cancel_request_arrives_by_heartbeat_where_the_signal_is_lost(worker: Worker) -> None:
    task_id = await worker.submit("probe.loop", "60")
    await worker.begins(task_id)

    await worker.store.lifecycle.cancel(task_id)

    assert (await worker.final(task_id)).status == "cancelled"


async def test_work_that_was_finished_in_spite_of_a_cancel_counts(worker: Worker) -> None:
    task_id = await worker.submit("probe.finishes_anyway")
    await worker.begins(task_id)

    await worker.cancel(task_id)

    task = await worker.final(task_id)
    assert (task.status, task.result, task.cancel_requested) == ("succeeded", '"finished"', True)


@pytest.mark.usefixtures("short_grace")
@pytest.mark.parametrize("type_", ["probe.stubborn_loop", "probe.stubborn_thread"])
async def test_a_handler_that_ignores_everything_is_given_up_and_keeps_its_slot(
    neighbours: Neighbours, type_: str
) -> None:
    async with run_worker(neighbours, queues={"default": 1}) as worker:
        stubborn = await worker.submit(type_, timeout_s=0.1)
        assert error_of(await worker.final(stubborn))["kind"] == "timeout"

        waiting = await worker.submit("probe.echo")
        await eventually(lambda: _is("free=0/1 backlog=1" in repr(worker.supervisor)))
        assert (await worker.store.tasks.get(waiting)).status == "queued"
        worker_handlers.released.set()

        assert (await worker.final(waiting)).status == "succeeded"
        assert (await worker.store.tasks.get(stubborn)).status == "failed"


# Messages .............................................................................


async def test_a_message_of_many_tasks_is_acked_when_the_last_is_done(worker: Worker) -> None:
    slow, *quick = ids = [new_task_id() for _ in range(4)]
    fields = [{"id": task_id, "type": "probe.echo"} for task_id in quick]
    tasks = [{"id": slow, "type": "probe.thread", "payload": "0.5"}, *fields]
    offered = worker.publisher.offer
    worker.publisher.offer = lambda rings: None  # type: ignore[method-assign]
    await worker.submit_all(tasks)
    worker.publisher.offer = offered  # type: ignore[method-assign]

    await worker.broker.publish([Message("default", "normal", tuple(Due(task_id, 1) for task_id in ids))])
    for task_id in quick:
        await worker.final(task_id)
    [subscription] = worker.broker.queues.queue("default").consumers

    assert len(subscription._in_hand) == 1
    await worker.final(slow)
    await eventually(lambda: _is(not subscription._in_hand))


async def _is(so: bool) -> bool:
    return so


async def test_copies_and_old_messages_run_nothing_a_second_time(worker: Worker) -> None:
    task_id = await worker.submit("probe.counts_calls")
    copy = Message("default", "normal", (Due(task_id, 1), Due(task_id, 1)))
    await worker.broker.publish([copy] * 5)
    await worker.final(task_id)
    await worker.broker.publish([copy, Message("default", "normal", (Due(task_id, 2),))])

    await worker.final(await worker.submit("probe.echo"))
    [subscription] = worker.broker.queues.queue("default").consumers
    await eventually(lambda: _is(not subscription._in_hand))

    assert worker_handlers.seen == [(task_id, 1)]


async def test_a_message_that_nobody_can_read_becomes_a_dead_letter(worker: Worker) -> None:
    worker.broker.queues.queue("default").put(_Letter(1, 10**6, "default", b"\xff no message of ours"))

    async def is_recorded() -> bool:
        return bool(await execute(worker.store, "SELECT 1 FROM dead_letters WHERE reason = 'malformed'"))

    await eventually(is_recorded)
    assert (await worker.final(await worker.submit("probe.echo"))).status == "succeeded"


async def test_a_type_that_the_worker_does_not_know_waits_for_one_that_does(neighbours: Neighbours) -> None:
    ignorant = Registry()
    ignorant.add(registry.get("probe.count"))

    async with run_worker(neighbours, known=ignorant) as worker:
        task_id = await worker.submit("probe.echo", "1")

        async def is_postponed() -> bool:
            return bool(await execute(worker.store, "SELECT 1 FROM outbox WHERE due_at < now() + interval '3 s'"))

        await eventually(is_postponed)
        assert (await worker.store.tasks.get(task_id)).status == "queued"
        async with run_worker(neighbours) as knowing:
            await worker.stopped()
            await pass_time(knowing.store, 60, tables=["outbox"])

            assert (await knowing.final(task_id)).result == "1"


async def test_a_busy_worker_finishes_many_tasks(neighbours: Neighbours) -> None:
    async with run_worker(neighbours, queues={"default": 100}) as worker:
        ids = await worker.submit_all({"type": "probe.counts_calls"} for _ in range(500))

        async def are_done() -> bool:
            [row] = await execute(worker.store, "SELECT count(*) FROM tasks WHERE status = 'succeeded'")
            return bool(row.count == 500)

        await eventually(are_done, within_s=60)

        assert Counter(worker_handlers.seen) == {(task_id, 1): 1 for task_id in ids}
        await eventually(lambda: _is(len(worker.supervisor._executor) == 0))


# Faults ...............................................................................


async def test_an_outcome_that_can_not_be_stored_fails_its_task_and_no_other(worker: Worker) -> None:
    types = ["probe.echo", "probe.poison", "probe.echo"]
    ids = await worker.submit_all({"type": type_} for type_ in types)

    ended = [await worker.final(task_id) for task_id in ids]

    assert [task.status for task in ended] == ["succeeded", "failed", "succeeded"]
    assert error_of(ended[1])["kind"] == "invalid_result"


async def test_connections_that_are_cut_again_and_again_cost_nothing_and_run_nothing_twice(
    neighbours: Neighbours, store: Store
) -> None:
    async with run_worker(neighbours, queues={"default": 5}) as worker:
        ids = await worker.submit_all({"type": "probe.counts_calls"} for _ in range(60))
        for task_id in ids[:60:6]:
            await execute(
                store,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            await eventually(lambda task_id=task_id: _is_final(store, task_id))  # type: ignore[misc]

        for task_id in ids:
            await eventually(lambda task_id=task_id: _is_final(store, task_id))  # type: ignore[misc]

    tasks = [await store.tasks.get(task_id) for task_id in ids]
    assert {(task.status, task.attempt) for task in tasks} == {("succeeded", 1)}
    assert Counter(worker_handlers.seen) == {(task_id, 1): 1 for task_id in ids}


async def _is_final(store: Store, task_id: UUID) -> bool:
    # Connections that were cut a moment ago may not know it yet.
    return is_final((await store.database.persist(lambda: store.tasks.get(task_id))).status)


# Logs .................................................................................


@pytest.fixture
def lines() -> Any:
    """What is logged, with the context variables of whoever logs it."""
    caught: list[dict[str, Any]] = []

    def keep(_logger: Any, _method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
        caught.append(dict(event))
        raise structlog.DropEvent

    usual = structlog.get_config()
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, keep])
    yield caught
    structlog.configure(**usual)


async def test_lines_of_handlers_carry_their_own_task_and_request(
    lines: list[dict[str, Any]], neighbours: Neighbours
) -> None:
    async with run_worker(neighbours) as worker:
        tasks = [
            {"type": type_, "payload": str(number), "request_id": f"request-{number}"}
            for number, type_ in enumerate(["probe.says", "probe.says_in_thread"] * 10)
        ]
        ids = await worker.submit_all(tasks)
        for task_id in ids:
            await worker.final(task_id)

    said = [line for line in lines if line["event"] == "said"]
    assert len(said) == 30
    for line in said:
        assert line["task_id"] == str(ids[line["number"]])
        assert line["request_id"] == f"request-{line['number']}"
        assert (line["attempt"], line["worker"]) == (1, worker.supervisor.worker_id)
    assert not [line for line in lines if line["event"] != "said" and "request_id" in line]


async def test_what_was_taken_away_is_stopped_and_its_result_refused(neighbours: Neighbours, worker: Worker) -> None:
    task_id = await worker.submit("probe.loop", "60")
    await worker.begins(task_id)
    await eventually(lambda: _is(all(running.seen_in_record for running in worker.supervisor._executor)))

    await execute(worker.store, "UPDATE tasks SET status = 'queued', worker = NULL WHERE id = :id", id=task_id)

    await eventually(lambda: _is(len(worker.supervisor._executor) == 0))
    assert (await worker.store.tasks.get(task_id)).status == "queued"
