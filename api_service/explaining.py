"""Why a task is not running, or that it is."""

import asyncio
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final

from api_service.services import Services
from shared.domain.status import TaskStatus
from shared.domain.task import TaskRecord
from shared.errors import BrokerUnavailableError
from shared.store.tasks import QueueFacts

#: Seconds that the broker may take to answer.
_ANSWER_WITHIN_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where a task stands and what it waits for.

    Attributes:
        code: A stable word for programs.
        text: The same for people.
        since: Since when it is so; None where that is not recorded.
        details: The facts behind it.
    """

    code: str
    text: str
    since: datetime | None
    details: dict[str, Any] = field(default_factory=dict)


async def explain(services: Services, task: TaskRecord) -> Explanation:
    """Find the first reason that holds.

    Raises:
        DatabaseUnavailableError: PostgreSQL is away.
    """
    if task.status != TaskStatus.QUEUED:
        return _explain_status(task)
    facts = await services.store.tasks.queue_facts(task)
    # Only a doorbell that still lies in the outbox can be held up by the broker.
    is_held_up = facts.in_outbox_since is not None and not await _answers(services)
    return explain_queued(task, facts, is_held_up=is_held_up)


def explain_queued(task: TaskRecord, facts: QueueFacts, *, is_held_up: bool) -> Explanation:
    """Why a queued task has not started: what a person must mend comes before what will pass."""
    if facts.paused:
        code, text = "queue_paused", f"queue {task.queue!r} is paused"
    elif not facts.consumed:
        code, text = "no_worker_for_queue", f"no live worker takes from queue {task.queue!r}"
    elif not facts.type_known:
        code, text = "type_unknown_to_workers", f"no live worker knows the type {task.type!r}"
    elif is_held_up:
        code, text = "broker_unreachable", "RabbitMQ can't be reached; the task is safe and is sent when it is back"
    else:
        code, text = "waiting_in_line", f"{facts.ahead} older tasks are ahead of it in queue {task.queue!r}"
    details = {"queue": task.queue, "type": task.type, **asdict(facts)}
    return Explanation(code, text, task.queued_at, details)


def _explain_status(task: TaskRecord) -> Explanation:
    match task.status:
        case TaskStatus.SCHEDULED:
            return Explanation(
                "scheduled", f"it may start at {_text(task.run_at)}", task.created_at, {"run_at": task.run_at}
            )
        case TaskStatus.RETRYING:
            return Explanation(
                "retrying",
                f"attempt {task.attempt} failed; the next one may start at {_text(task.run_at)}",
                None,
                {"run_at": task.run_at, "attempt": task.attempt, "max_attempts": task.max_attempts},
            )
        case TaskStatus.RUNNING:
            return Explanation(
                "running",
                f"attempt {task.attempt} runs on worker {task.worker}",
                task.started_at,
                {"attempt": task.attempt, "worker": task.worker, "cancel_requested": task.cancel_requested},
            )
        case _:
            return Explanation("final", f"it is {task.status}", task.finished_at, {"status": task.status})


async def _answers(services: Services) -> bool:
    try:
        async with asyncio.timeout(_ANSWER_WITHIN_S):
            await services.broker.ping()
    except (BrokerUnavailableError, TimeoutError):
        return False
    return True


def _text(moment: datetime | None) -> str:
    return "once" if moment is None else moment.strftime("%Y-%m-%d %H:%M:%SZ")
