"""Mailings while their worker dies."""

from collections import Counter

from tests.faults.stack import Stack
from tests.mailserver import Mailroom

RECIPIENTS = 300
QUEUES = "default:5,notifications:5"


async def test_a_worker_that_is_killed_in_the_middle_of_a_mailing_mails_nobody_twice_but_the_one_in_flight(
    stack: Stack,
) -> None:
    async with Mailroom() as room:
        room.pause_s = 0.005
        settings = {
            "SMTP_URL": f"smtp://127.0.0.1:{room.port}",
            "SMTP_FROM": "Shop <shop@example.org>",
            "WORKER_QUEUES": QUEUES,
        }
        await stack.start(apis=1, workers=1, **settings)
        recipients = [{"to": f"user{n}@example.org", "variables": {"n": n}} for n in range(RECIPIENTS)]
        payload = {"recipients": recipients, "subject": "News {{ n }}", "text": "For {{ n }}", "per_second": 1000}
        task_id = await stack.submit("notifications.email_bulk", payload)

        await room.takes(RECIPIENTS // 2)
        stack.workers[0].kill()
        taken = len(room.delivered)
        await stack.start_worker(**settings)
        task = await stack.until_status(task_id, "succeeded", "failed", within_s=90)

    times = Counter(room.recipients)
    assert (task["status"], task["attempt"]) == ("succeeded", 2)
    assert taken < RECIPIENTS
    assert set(times) == {f"user{n}@example.org" for n in range(RECIPIENTS)}
    assert sum(times.values()) - RECIPIENTS <= 1, "only the one letter in flight may come twice"
    assert task["result"]["sent_count"] == RECIPIENTS
    ids = Counter(str(delivered.message["Message-ID"]) for delivered in room.delivered)
    assert len(ids) == RECIPIENTS
