"""Webhooks while processes die."""

import time
from asyncio import StreamWriter, sleep

from tests.faults.stack import Stack
from tests.receiver import SECRET, Receiver

SETTINGS = {"WEBHOOK_SECRET": SECRET, "WEBHOOK_ALLOW_PRIVATE": "on"}


async def hang(_: StreamWriter) -> None:
    await sleep(600)


async def test_a_delivery_whose_worker_is_killed_is_made_again_under_the_same_id(stack: Stack) -> None:
    async with Receiver() as receiver:
        receiver.answers.append(hang)
        await stack.start(apis=1, workers=1, **SETTINGS)
        task_id = await stack.submit("trail.sleep", callback_url=receiver.url)
        await receiver.gets(1, within_s=60)

        stack.workers[0].kill()
        await stack.start_worker(**SETTINGS)
        first, second = await receiver.gets(2, within_s=60)

    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    assert second.document["data"]["task_id"] == task_id  # type: ignore[index]
    assert second.is_signed(time.time())


async def test_no_callback_is_lost_and_none_made_up_while_workers_are_killed(stack: Stack) -> None:
    async with Receiver() as receiver:
        await stack.start(apis=1, workers=2, **SETTINGS)
        ids = []
        for victim in list(stack.workers):
            heard = len(receiver.received)
            ids += await stack.submit_many(100, "trail.sleep", {"seconds": 0.02}, callback_url=receiver.url)
            await receiver.gets(heard + 20, within_s=60)
            victim.kill()
            await stack.start_worker(**SETTINGS)

        await stack.audit()
        await stack.until(lambda: set(_told(receiver)) == set(ids), 90, "every callback")

    # A delivery may be made twice, when its worker was killed before it could say so; then it has the same id.
    ids_of_deliveries = [request.headers["webhook-id"] for request in receiver.received]
    deliveries = set(zip(ids_of_deliveries, _told(receiver), strict=True))
    assert len(deliveries) == 200


def _told(receiver: Receiver) -> list[str]:
    return [request.document["data"]["task_id"] for request in receiver.received]  # type: ignore[index]
