"""Messages that should not be there: copies, old ones, nonsense, and one that came back too often."""

import asyncio
import json
from time import monotonic
from typing import Any
from uuid import UUID, uuid4

from shared.broker.topology import DELIVERY_LIMIT
from shared.domain.message import Due, encode
from tests.faults.amqp import DEFAULT, opened_channel, queue_at_broker, send
from tests.faults.conftest import Report
from tests.faults.stack import Stack


async def test_copies_and_old_messages_start_nothing(stack: Stack) -> None:
    await stack.start(workers=2)
    failed_once = await stack.submit("trail.fail", {"times": 1})
    await stack.until_status(failed_once, "succeeded")
    running = await stack.submit("trail.sleep", {"seconds": 2})
    await stack.until_status(running, "running")

    copies = [Due(UUID(running), 1), Due(UUID(running), 2), Due(UUID(failed_once), 1), Due(UUID(failed_once), 2)]
    await send(stack, [encode([due]) for due in copies] * 3)
    await send(stack, [encode([*copies, *copies, Due(uuid4(), 1)]), encode([Due(UUID(failed_once), 3)])])

    await stack.audit()
    await stack.until(lambda: queue_at_broker(stack).messages == 0, 30, "all messages to be acked")
    assert (stack.starts(running), stack.starts(failed_once)) == (1, 2)


async def test_malformed_messages_are_dead_letters_and_the_worker_goes_on(stack: Stack) -> None:
    await stack.start()
    task_id = str(uuid4())
    documents: list[Any] = [
        None,
        "text",
        [[task_id, 1]],
        {"v": 1},
        {"v": 2, "due": [[task_id, 1]]},
        {"v": 1, "due": []},
        {"v": 1, "due": [[task_id]]},
        {"v": 1, "due": [["no id", 1]]},
        {"v": 1, "due": [[task_id, "1"]]},
        {"v": 1, "due": [[task_id, 2**31]]},
    ]
    others = [b"", b"\x00\xff\xfe", b"{", b"[" * 100_000, b'"' + b"x" * 2_000_000 + b'"']

    await send(stack, [json.dumps(document).encode() for document in documents] + others)
    await stack.submit_many(5, "trail.sleep")

    await stack.audit()
    wanted = len(documents) + len(others)
    await stack.until(lambda: _letters(stack, wanted), 30, f"{wanted} dead letters")
    assert await stack.fetch("SELECT count(*) FROM dead_letters WHERE queue = 'default'") == wanted


async def test_tasks_of_a_message_that_came_back_too_often_run_all_the_same(
    stack: Stack, report_recovery: Report
) -> None:
    await stack.start()
    await stack.workers[0].terminate()
    await stack.submit_many(3, "trail.sleep")
    await stack.until_rung()

    await _take_and_lose(stack, times=DELIVERY_LIMIT + 1)
    await stack.until(lambda: queue_at_broker(stack).messages == 0, 30, "the messages to die")
    died_at = monotonic()
    await stack.start_worker(RECONCILE_AFTER_SECONDS="3600")

    await stack.audit()
    report_recovery("all tasks were done", died_at)


async def _letters(stack: Stack, wanted: int) -> bool:
    answer = await stack.client.get(f"{stack.url}/dead-letters", params={"reason": "malformed", "limit": 50})
    return len(answer.json()["items"]) == wanted


async def _take_and_lose(stack: Stack, *, times: int) -> None:
    """Take what is in the default queue and give it back, as a consumer does that dies."""
    async with opened_channel(stack) as channel:
        queue = await channel.get_queue(DEFAULT, ensure=False)
        returned = 0
        deadline = monotonic() + 60
        while returned < 3 * times:
            message = await queue.get(fail=False)
            if message is None:
                assert monotonic() < deadline, f"the broker gave out only {returned} deliveries"
                await asyncio.sleep(0.05)
            else:
                await message.nack(requeue=True)
                returned += 1
