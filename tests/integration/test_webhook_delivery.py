"""Webhooks from the end of a task to the receiver, by a real worker."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from shared.domain.callback import DELIVER_MAX_ATTEMPTS, DELIVER_TYPE
from shared.domain.signing import parse_secrets
from shared.domain.status import is_final
from shared.domain.task import TaskRecord
from shared.store.dead_letters import DeadLetterFilter
from tests.builders import eventually, execute
from tests.receiver import SECRET, Receiver, status
from tests.workers import Neighbours, Worker, run_worker
from worker_service.library import BUILT_IN
from worker_service.registry import import_task_modules
from worker_service.system import Outbound

OUTBOUND = Outbound(webhook_keys=parse_secrets(SECRET), private_callbacks=True)
QUEUES = {"default": 10, "system": 10}

import_task_modules(BUILT_IN)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as listening:
        yield listening


@pytest.fixture
async def worker(database_url: str) -> AsyncIterator[Worker]:
    async with run_worker(Neighbours(database_url), queues=QUEUES, outbound=OUTBOUND) as running:
        yield running


async def callbacks(worker: Worker, task_id: UUID) -> list[TaskRecord]:
    """The callbacks of a task, the earliest first."""
    rows = await execute(worker.store, "SELECT id FROM tasks WHERE parent_id = :id ORDER BY id", id=task_id)
    return [await worker.store.tasks.get(row.id) for row in rows]


async def delivered(worker: Worker, task_id: UUID) -> TaskRecord:
    """The one callback of a task, once it is final."""
    [callback] = await callbacks(worker, task_id)
    return await worker.final(callback.id)


async def hurry(worker: Worker, task_id: UUID, attempt: int) -> None:
    """Let no time be between the attempts of a task, until it is final or at that attempt."""

    async def is_there() -> bool:
        await execute(
            worker.store, "UPDATE tasks SET run_at = now() WHERE id = :id AND status = 'retrying'", id=task_id
        )
        task = await worker.store.tasks.get(task_id)
        return is_final(task.status) or task.attempt >= attempt

    await eventually(is_there, within_s=60)


async def test_the_receiver_gets_the_final_document_signed(worker: Worker, receiver: Receiver) -> None:
    task_id = await worker.submit("demo.echo", '{"n": 1}', callback_url=receiver.url)

    [request] = await receiver.gets(1)
    callback = await delivered(worker, task_id)

    assert request.is_signed(time.time())
    assert request.headers["webhook-id"] == str(callback.id)
    assert request.headers["content-type"] == "application/json"
    body: Any = request.document
    assert (body["type"], body["left_out"]) == ("task.succeeded", [])
    assert (body["data"]["task_id"], body["data"]["status"]) == (str(task_id), "succeeded")
    assert body["data"]["result"] == {"n": 1}
    assert body["timestamp"] == body["data"]["finished_at"]
    assert callback.status == "succeeded"


async def test_a_failure_is_told_of_with_its_reason(worker: Worker, receiver: Receiver) -> None:
    await worker.submit("demo.fail", '{"times": 1}', max_attempts=1, callback_url=receiver.url)

    [request] = await receiver.gets(1)

    body: Any = request.document
    assert body["type"] == "task.failed"
    assert body["data"]["error"]["kind"] == "RuntimeError"


async def test_without_a_secret_it_goes_unsigned(database_url: str, receiver: Receiver) -> None:
    outbound = replace(OUTBOUND, webhook_keys=())
    async with run_worker(Neighbours(database_url), queues=QUEUES, outbound=outbound) as worker:
        await worker.submit("demo.echo", callback_url=receiver.url)

        [request] = await receiver.gets(1)

    assert "webhook-signature" not in request.headers
    assert request.headers["webhook-id"]


async def test_a_receiver_that_comes_back_gets_the_same_delivery_again(worker: Worker, receiver: Receiver) -> None:
    receiver.answers.extend([status(500), status(302, f"Location: {receiver.url}"), b""])
    task_id = await worker.submit("demo.echo", callback_url=receiver.url)
    await receiver.gets(1)
    [callback] = await callbacks(worker, task_id)

    await hurry(worker, callback.id, 4)
    requests = await receiver.gets(4)
    done = await worker.final(callback.id)

    assert (done.status, done.attempt) == ("succeeded", 4)
    assert len({request.headers["webhook-id"] for request in requests}) == 1
    assert len({request.body for request in requests}) == 1
    assert all(request.is_signed(time.time()) for request in requests)


async def test_a_receiver_that_asks_to_wait_is_called_later(worker: Worker, receiver: Receiver) -> None:
    receiver.answers.append(status(429, "Retry-After: 1000"))
    task_id = await worker.submit("demo.echo", callback_url=receiver.url)
    await receiver.gets(1)
    [callback] = await callbacks(worker, task_id)

    waiting = await worker.reaches(callback.id, "retrying".__eq__)

    assert waiting.run_at is not None
    assert waiting.started_at is not None
    assert 990 < (waiting.run_at - waiting.started_at).total_seconds() < 1100


async def test_a_receiver_that_is_gone_is_a_dead_letter_at_once(worker: Worker, receiver: Receiver) -> None:
    receiver.answers.append(status(410))
    task_id = await worker.submit("demo.echo", callback_url=receiver.url)
    await receiver.gets(1)

    callback = await delivered(worker, task_id)

    assert (callback.status, callback.attempt) == ("failed", 1)
    [letter] = await worker.store.dead_letters.page(DeadLetterFilter(type=DELIVER_TYPE), limit=5)
    assert letter.task_id == callback.id
    assert "410 Gone" in str(letter.error)


async def test_after_the_last_attempt_it_is_a_dead_letter_and_can_be_replayed(
    worker: Worker, receiver: Receiver
) -> None:
    receiver.answers.extend([status(503)] * DELIVER_MAX_ATTEMPTS)
    task_id = await worker.submit("demo.echo", callback_url=receiver.url)
    await receiver.gets(1)
    [callback] = await callbacks(worker, task_id)

    await hurry(worker, callback.id, DELIVER_MAX_ATTEMPTS + 1)
    dead = await worker.store.tasks.get(callback.id)
    moved = await worker.store.lifecycle.renew(callback.id)
    worker.publisher.offer(moved.rings)
    replayed = await worker.final(callback.id)

    assert (dead.status, dead.attempt) == ("failed", DELIVER_MAX_ATTEMPTS)
    assert "answered 503" in str(dead.error)
    assert replayed.status == "succeeded"
    assert len({request.headers["webhook-id"] for request in receiver.received}) == 1


async def test_a_private_receiver_is_refused_for_good_where_it_is_not_allowed(
    database_url: str, receiver: Receiver
) -> None:
    outbound = replace(OUTBOUND, private_callbacks=False)
    async with run_worker(Neighbours(database_url), queues=QUEUES, outbound=outbound) as worker:
        task_id = await worker.submit("demo.echo", callback_url=f"http://localhost:{receiver.port}/")
        await worker.final(task_id)
        callback = await delivered(worker, task_id)

    assert callback.status == "failed"
    assert "WEBHOOK_ALLOW_PRIVATE=on" in str(callback.error)
    assert receiver.received == []


async def test_a_cancelled_task_calls_back_through_the_api_s_own_doorbell(worker: Worker, receiver: Receiver) -> None:
    task_id = await worker.submit("demo.echo", callback_url=receiver.url, delay_s=600.0)

    moved = await worker.store.lifecycle.cancel(task_id)
    worker.publisher.offer(moved.rings)

    [request] = await receiver.gets(1)
    assert request.document["type"] == "task.cancelled"


async def test_nobody_can_have_made_up_news_signed(worker: Worker, receiver: Receiver) -> None:
    told = await worker.submit("demo.sleep", '{"seconds": 600}', callback_url=receiver.url)
    forged = f'{{"task_id": "{told}", "status": "succeeded", "attempt": 1, "finished_at": "2026-01-01T00:00:00Z"}}'

    task = await worker.final(await worker.submit(DELIVER_TYPE, forged, queue="system"))

    assert task.status == "failed"
    assert "give a task a callback_url instead" in str(task.error)
    assert receiver.received == []


async def test_a_task_that_was_forgotten_meanwhile_is_told_of_no_more(worker: Worker, receiver: Receiver) -> None:
    receiver.answers.append(status(500))
    task_id = await worker.submit("demo.echo", callback_url=receiver.url)
    await receiver.gets(1)
    [callback] = await callbacks(worker, task_id)
    await execute(worker.store, "DELETE FROM tasks WHERE id = :id", id=task_id)

    await hurry(worker, callback.id, 2)
    done = await worker.final(callback.id)

    assert done.status == "failed"
    assert "RETENTION_DAYS" in str(done.error)


async def test_two_workers_deliver_each_callback_once(database_url: str, receiver: Receiver) -> None:
    neighbours = Neighbours(database_url)
    async with (
        run_worker(neighbours, queues=QUEUES, outbound=OUTBOUND) as one,
        run_worker(neighbours, queues=QUEUES, outbound=OUTBOUND) as other,
    ):
        tasks = [{"type": "demo.echo", "payload": "1", "callback_url": receiver.url}] * 40
        ids = [*await one.submit_all(tasks), *await other.submit_all(tasks)]

        requests = await receiver.gets(80)
        for task_id in ids:
            assert (await delivered(one, task_id)).attempt == 1

    told = [request.document["data"]["task_id"] for request in requests]  # type: ignore[index]
    assert sorted(told) == sorted(map(str, ids))
    assert len(receiver.received) == 80


async def test_the_options_of_a_worker_show_no_secret() -> None:
    assert "keys" not in repr(OUTBOUND)
