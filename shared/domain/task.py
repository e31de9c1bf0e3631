"""A task as it is stored, as it is submitted, and as clients see it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson

from shared.domain.outcome import Failure


@dataclass(frozen=True, slots=True)
class UniqueKey:
    """At most one open task may hold `key`; with `for_s` it stays taken so many seconds after creation."""

    key: bytes
    for_s: float | None = None


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """The client's promise that all requests with `key` are one; `fingerprint` tells a changed body."""

    key: bytes
    fingerprint: bytes


class NewTask(NamedTuple):
    """A task to be accepted, checked and complete. Durations in seconds; `payload` is JSON text."""

    id: UUID
    type: str
    queue: str
    payload: str
    max_attempts: int
    timeout_s: float
    soft_timeout_s: float | None = None
    priority: str = "normal"
    delay_s: float | None = None
    run_at: datetime | None = None
    expires_in_s: float | None = None
    tags: tuple[str, ...] = ()
    unique: UniqueKey | None = None
    idempotency: IdempotencyKey | None = None
    parent_id: UUID | None = None
    request_id: str | None = None
    submitted_by: str | None = None
    callback_url: str | None = None


class Accepted(NamedTuple):
    """The answer to a submission; `duplicate` says that the task existed already."""

    task_id: UUID
    status: str
    type: str
    queue: str
    created_at: datetime
    duplicate: bool = False


class TaskRecord(NamedTuple):
    """One row of `tasks`, field by field. JSON values are text."""

    id: UUID
    type: str
    queue: str
    priority: str
    status: str
    attempt: int
    attempts_before: int
    max_attempts: int
    timeout_s: float
    soft_timeout_s: float | None
    payload: str
    result: str | None
    error: str | None
    errors: list[str]
    progress: str | None
    tags: list[str]
    created_at: datetime
    queued_at: datetime | None
    run_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    worker: str | None
    cancel_requested: bool
    unique_key: bytes | None
    parent_id: UUID | None
    request_id: str | None
    submitted_by: str | None
    callback_url: str | None
    artifacts: str | None
    version: int

    @property
    def attempts_used(self) -> int:
        """Attempts spent since the task was born or renewed."""
        return self.attempt - self.attempts_before


#: The columns of `tasks` in the order of the record's fields.
TASK_COLUMNS: Final = TaskRecord._fields

#: How documents are written: times in UTC with a `Z`.
_OPTIONS: Final = orjson.OPT_UTC_Z


def document(task: TaskRecord) -> bytes:
    """What `GET /tasks/{task_id}` answers: JSON, with payload and result exactly as they were stored."""
    return orjson.dumps(
        {
            "task_id": str(task.id),  # asyncpg has a class of its own for UUIDs
            "type": task.type,
            "queue": task.queue,
            "priority": task.priority,
            "status": task.status,
            "attempt": task.attempt,
            "max_attempts": task.max_attempts,
            "progress": _spliced(task.progress),
            "result": _spliced(task.result),
            "error": _spliced(task.error),
            "errors": [orjson.Fragment(error) for error in task.errors],
            "artifacts": orjson.Fragment(task.artifacts or "[]"),
            "payload": orjson.Fragment(task.payload),
            "tags": task.tags,
            "created_at": task.created_at,
            "run_at": task.run_at,
            "started_at": task.started_at,
            "finished_at": task.finished_at,
            "expires_at": task.expires_at,
            "worker": task.worker,
            "cancel_requested": task.cancel_requested,
            **({} if task.submitted_by is None else {"submitted_by": task.submitted_by}),
        },
        option=_OPTIONS,
    )


def failure_json(failure: Failure) -> str:
    """The JSON text of an error, as it stands in `error` and `errors`."""
    return orjson.dumps(failure).decode()


def progress_json(done: float, total: float | None, message: str) -> str:
    """The JSON text of a progress report; `percent` is null where the total is not known."""
    percent = None if not total else round(min(100.0, max(0.0, 100.0 * done / total)), 1)
    return orjson.dumps({"done": done, "total": total, "percent": percent, "message": message}).decode()


def _spliced(text: str | None) -> Any:
    return None if text is None else orjson.Fragment(text)
