"""What clients are shown of a move, or of progress, without another request."""

from datetime import UTC, datetime
from typing import Any

import orjson

from shared.domain.status import WAITING, TaskStatus
from shared.domain.task import TaskRecord
from shared.events.base import Event


def event_of(task: TaskRecord, kind: str = "status") -> Event:
    """The event of `kind` (`status`, `progress`) about a task as it is now. The result is not part of it."""
    data: dict[str, Any] = {"status": task.status, "attempt": task.attempt, "version": task.version}
    if kind == "progress":
        data["progress"] = _value(task.progress)
    else:
        data |= _details(task)
    return Event(kind, task.id, task.type, task.queue, data)


def _details(task: TaskRecord) -> dict[str, Any]:
    details: dict[str, Any] = {"max_attempts": task.max_attempts}
    if task.status == TaskStatus.RUNNING:
        details["worker"] = task.worker
        details["started_at"] = _moment(task.started_at)
        details["cancel_requested"] = task.cancel_requested
        details["progress"] = _value(task.progress)
    elif task.status in WAITING:
        details["run_at"] = _moment(task.run_at)
    else:
        details["started_at"] = _moment(task.started_at)
        details["finished_at"] = _moment(task.finished_at)
    if task.error is not None:
        details["error"] = {name: text for name, text in _value(task.error).items() if name != "traceback"}
    return details


def _value(text: str | None) -> Any:
    return None if text is None else orjson.loads(text)


def _moment(at: datetime | None) -> str | None:
    if at is None:
        return None
    in_utc = at if at.tzinfo is UTC else at.astimezone(UTC)
    return f"{in_utc.isoformat()[:-6]}Z"
