"""Notifications: mail over SMTP, from Jinja2 templates.

After a crash nobody who was mailed is mailed again: see `worker_service.library.mail.mailing`.
"""

from typing import Final

from worker_service import RetryPolicy, TaskContext, task
from worker_service.library.mail.payloads import BulkEmail, Email, Report

QUEUE: Final = "notifications"
_RETRY: Final = RetryPolicy(first_delay_s=30, max_delay_s=3600)

_EXAMPLE: Final = {
    "to": "Ada Lovelace <ada@example.org>",
    "subject": "Your order {{ order }}",
    "text": "Dear {{ name }},\nit is on its way.\n",
    "variables": {"order": 1042, "name": "Ada"},
}


@task("notifications.email", queue=QUEUE, max_attempts=8, timeout=600, retry=_RETRY, example=_EXAMPLE)
async def email(payload: Email, ctx: TaskContext) -> Report:
    """Send one letter by mail."""
    from worker_service.library.mail.posting import post_one

    return await post_one(payload, ctx)


@task(
    "notifications.email_bulk",
    queue=QUEUE,
    max_attempts=8,
    timeout=4 * 3600,
    retry=_RETRY,
    example={
        "recipients": [
            {"to": "ada@example.org", "variables": {"name": "Ada"}},
            {"to": "bob@example.org", "variables": {"name": "Bob"}},
        ],
        "subject": "News for {{ name }}",
        "text": "Dear {{ name }},\nthere is news.\n",
    },
)
async def email_bulk(payload: BulkEmail, ctx: TaskContext) -> Report:
    """Send each recipient a letter of their own by mail."""
    from worker_service.library.mail.posting import post_many

    return await post_many(payload, ctx)
