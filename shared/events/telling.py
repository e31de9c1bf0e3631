"""What clients are shown of a move, or of progress, without another request."""

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
        _add_details(data, task)
    return Event(kind, task.id, task.type, task.queue, data)


def _add_details(data: dict[str, Any], task: TaskRecord) -> None:
    data["max_attempts"] = task.max_attempts
    if task.status == TaskStatus.RUNNING:
        data["worker"] = task.worker
        data["started_at"] = task.started_at
        data["cancel_requested"] = task.cancel_requested
        data["progress"] = _value(task.progress)
    elif task.status in WAITING:
        data["run_at"] = task.run_at
    else:
        data["started_at"] = task.started_at
        data["finished_at"] = task.finished_at
    if task.error is not None:
        data["error"] = {name: text for name, text in _value(task.error).items() if name != "traceback"}


def _value(text: str | None) -> Any:
    return None if text is None else orjson.loads(text)
