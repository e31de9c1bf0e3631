"""Webhooks: the task that tells a callback_url that another task is final.

PostgreSQL makes these tasks, in the very statement that makes the other one's status final.
"""

import time
from datetime import UTC, datetime
from random import Random
from uuid import UUID

from pydantic import AwareDatetime, BaseModel

from shared.domain.callback import DELIVER_MAX_ATTEMPTS, DELIVER_RETRY, DELIVER_TIMEOUT_S, DELIVER_TYPE
from shared.domain.signing import sign
from shared.domain.status import TaskStatus
from shared.domain.task import TaskRecord
from shared.domain.task_type import SYSTEM_QUEUE
from shared.errors import TaskNotFoundError
from shared.version import VERSION
from worker_service import Permanent, TaskContext, task


class FinalTask(BaseModel):
    """The moment in which a task became final."""

    task_id: UUID
    status: TaskStatus
    attempt: int
    finished_at: AwareDatetime


class Delivered(BaseModel):
    """What the receiver answered, and how many bytes it was sent."""

    status_code: int
    sent_bytes: int
    signed: bool


@task(
    DELIVER_TYPE,
    queue=SYSTEM_QUEUE,
    max_attempts=DELIVER_MAX_ATTEMPTS,
    timeout=DELIVER_TIMEOUT_S,
    retry=DELIVER_RETRY,
)
async def deliver(payload: FinalTask, ctx: TaskContext) -> Delivered:
    """Call the callback_url of a task that is final. Taskmill submits these itself."""
    from worker_service.library.webhook.body import body_of
    from worker_service.library.webhook.judging import require_taken
    from worker_service.library.webhook.resolving import RefusedAddressError
    from worker_service.library.webhook.sending import Sender

    told = await _task_to_tell_of(payload, ctx)
    assert told.callback_url is not None
    outbound = ctx.system.outbound
    body = body_of(
        told, status=payload.status, attempt=payload.attempt, finished_at=payload.finished_at.astimezone(UTC)
    )
    headers = _headers(str(ctx.task_id), int(time.time()), body, outbound.webhook_keys)
    try:
        answer = await Sender(private_allowed=outbound.private_callbacks).post(told.callback_url, body, headers)
    except RefusedAddressError as error:
        raise Permanent(str(error)) from error
    require_taken(answer.status, answer.retry_after, attempt=ctx.attempt, now=datetime.now(UTC), random=Random())
    return Delivered(status_code=answer.status, sent_bytes=len(body), signed=bool(outbound.webhook_keys))


async def _task_to_tell_of(payload: FinalTask, ctx: TaskContext) -> TaskRecord:
    tasks = ctx.system.store.tasks
    # A client that may submit tasks must not have us sign news that it made up.
    if (await tasks.get(ctx.task_id)).parent_id != payload.task_id:
        raise Permanent("Taskmill submits these tasks itself: give a task a callback_url instead")
    try:
        told = await tasks.get(payload.task_id)
    except TaskNotFoundError as error:
        raise Permanent("the task to tell of has been forgotten: RETENTION_DAYS has passed") from error
    if told.callback_url is None:
        raise Permanent("the task to tell of has no callback_url")
    return told


def _headers(webhook_id: str, timestamp: int, body: bytes, keys: tuple[bytes, ...]) -> dict[str, str]:
    headers = {
        "content-type": "application/json",
        "user-agent": f"Taskmill/{VERSION}",
        "accept-encoding": "identity",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
    }
    if keys:
        headers["webhook-signature"] = sign(keys, webhook_id=webhook_id, timestamp=timestamp, body=body)
    return headers
