"""Why a task is not running, or that it is."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import orjson

from api_service.services import Services
from shared.broker.base import Broker
from shared.domain.status import TaskStatus
from shared.domain.task import TaskRecord
from shared.errors import BrokerUnavailableError
from shared.store.facts import Facts

#: Seconds that the broker may take to answer.
_ANSWER_WITHIN_S: Final = 2.0
#: How long something that a worker does by itself may be late before that is worth a word.
_LATE: Final = timedelta(seconds=5)


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
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BrokerState:
    """What the broker says of itself.

    Attributes:
        answers: Whether it can be reached.
        honours_priority: Whether it delivers high before normal.
    """

    answers: bool
    honours_priority: bool = False


async def explain(services: Services, task: TaskRecord) -> Explanation:
    """Find the first reason that holds.

    Raises:
        DatabaseUnavailableError: PostgreSQL is away.
    """
    facts = await services.store.facts.of(task)
    if task.status == TaskStatus.QUEUED:
        return explain_queued(task, facts, await _state_of(services.broker))
    return explain_status(task, facts)


def explain_queued(task: TaskRecord, facts: Facts, broker: BrokerState) -> Explanation:
    """Why a queued task has not started: what a person must mend comes before what will pass."""
    ahead = line_ahead(task.priority, facts, honours_priority=broker.honours_priority)
    details = {
        "queue": task.queue,
        "type": task.type,
        "paused": facts.paused,
        "consumers": facts.consumers,
        "draining": facts.draining,
        "workers_that_know_the_type": facts.knowing,
        "ahead": ahead,
        "priority": task.priority,
        "priority_honoured": broker.honours_priority,
        "in_outbox_since": facts.in_outbox_since,
    }
    since = task.queued_at
    if facts.paused:
        code, text, since = "queue_paused", _paused_text(task, facts), facts.paused_at
    elif not facts.consumers:
        code, text = "no_worker_for_queue", _no_worker_text(task, facts)
    elif not facts.knowing:
        code, text = "type_unknown_to_workers", _unknown_text(task, facts)
    elif not broker.answers:
        code, text, since = "broker_unreachable", _unreachable_text(facts), facts.in_outbox_since or since
    else:
        code, text = "waiting_in_line", _line_text(task, facts, ahead)
    return Explanation(code, text, since, details)


def line_ahead(priority: str, facts: Facts, *, honours_priority: bool) -> int:
    """How many queued tasks come before one of this priority: high ones first, where the broker does so."""
    if not honours_priority:
        return facts.older
    if priority == "high":
        return facts.older_high
    return facts.older + facts.younger_high


def explain_status(task: TaskRecord, facts: Facts) -> Explanation:
    """Where a task stands that is not queued."""
    match task.status:
        case TaskStatus.SCHEDULED:
            details = {"run_at": task.run_at, "paused": facts.paused}
            return Explanation("scheduled", _due_text("it may start", task, facts), task.created_at, details)
        case TaskStatus.RETRYING:
            return _explain_retrying(task, facts)
        case TaskStatus.RUNNING:
            return _explain_running(task, facts)
        case _:
            return Explanation("final", f"it is {task.status}", task.finished_at, {"status": task.status})


def _explain_retrying(task: TaskRecord, facts: Facts) -> Explanation:
    error = orjson.loads(task.errors[-1]) if task.errors else {"kind": None, "message": "it is not known why"}
    failed = f"attempt {task.attempts_used} of {task.max_attempts} failed ({error['kind']}: {error['message']})"
    details = {
        "run_at": task.run_at,
        "attempt": task.attempt,
        "attempts_used": task.attempts_used,
        "max_attempts": task.max_attempts,
        "error": {"kind": error["kind"], "message": error["message"]},
        "paused": facts.paused,
    }
    # When it failed is not recorded: `started_at` is when the attempt began.
    return Explanation("retrying", _due_text(f"{failed}; the next may start", task, facts), None, details)


def _explain_running(task: TaskRecord, facts: Facts) -> Explanation:
    text = f"attempt {task.attempts_used} of {task.max_attempts} runs on worker {task.worker}"
    if facts.worker_silent:
        silent = "is gone" if facts.heartbeat is None else f"has been silent since {_text(facts.heartbeat)}"
        then = "another one takes the task over in a moment" if facts.live_workers else "no other one is there"
        text = f"{text}, which {silent}: {then}"
    elif task.cancel_requested:
        text = f"{text} and was asked to end"
    details = {
        "attempt": task.attempt,
        "worker": task.worker,
        "worker_heartbeat": facts.heartbeat,
        "worker_silent": facts.worker_silent,
        "cancel_requested": task.cancel_requested,
    }
    return Explanation("running", text, task.started_at, details)


# Words ..............................................................................


def _paused_text(task: TaskRecord, facts: Facts) -> str:
    since = "" if facts.paused_at is None else f" since {_text(facts.paused_at)}"
    return f"queue {task.queue!r} is paused{since}: POST /queues/{task.queue}/resume lets its tasks start"


def _no_worker_text(task: TaskRecord, facts: Facts) -> str:
    text = f"no live worker takes from queue {task.queue!r}: name it in the WORKER_QUEUES of one"
    return f"{text} ({facts.draining} that did are draining)" if facts.draining else text


def _unknown_text(task: TaskRecord, facts: Facts) -> str:
    text = f"no live worker that takes from queue {task.queue!r} knows the type {task.type!r}"
    return f"{text}; {facts.knowing_elsewhere} that take from others do" if facts.knowing_elsewhere else text


def _unreachable_text(facts: Facts) -> str:
    if facts.in_outbox_since is None:
        return "RabbitMQ can't be reached; the task is safe, and goes on when it is back"
    return (
        f"RabbitMQ can't be reached; the task's message has been waiting in the outbox since"
        f" {_text(facts.in_outbox_since)} and is sent when it is back"
    )


def _line_text(task: TaskRecord, facts: Facts, ahead: int) -> str:
    if ahead:
        verb = "task is" if ahead == 1 else "tasks are"
        text = f"{ahead} {verb} ahead of it in queue {task.queue!r}"
        high = ahead - facts.older + facts.older_high if task.priority == "normal" else 0
        text += f", {high} of them of high priority" if high else ""
    else:
        text = f"it is the next in queue {task.queue!r}, and starts when a worker has room"
    if facts.in_outbox_since is not None and facts.now - facts.in_outbox_since > _LATE:
        text += f"; its message has been waiting to be sent since {_text(facts.in_outbox_since)}"
    return text


def _due_text(beginning: str, task: TaskRecord, facts: Facts) -> str:
    text = f"{beginning} at {_text(task.run_at)}"
    if task.run_at is not None and facts.now - task.run_at > _LATE and not facts.live_workers:
        text += ", which has passed, but no live worker is there to queue it"
    elif facts.paused:
        text += f", but queue {task.queue!r} is paused"
    return text


def _text(moment: datetime | None) -> str:
    return "once" if moment is None else moment.strftime("%Y-%m-%d %H:%M:%SZ")


async def _state_of(broker: Broker) -> BrokerState:
    try:
        async with asyncio.timeout(_ANSWER_WITHIN_S):
            await broker.ping()
            return BrokerState(True, await broker.honours_priority())
    except (BrokerUnavailableError, TimeoutError):
        return BrokerState(False)
