"""The body of a webhook. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import orjson

from shared.domain.task import TaskRecord, document

#: Bytes of a body. Receivers have limits of their own, and what is missing is there to be asked for.
MAX_BODY_BYTES: Final = 256 * 1024

#: What is left out of a document that is too long, in this order: what the receiver can best do without first.
_EXPENDABLE: Final[Mapping[str, dict[str, Any]]] = {
    "payload": {"payload": "null"},
    "errors": {"errors": []},
    "result": {"result": None},
    "error": {"error": None},
}


def body_of(task: TaskRecord, *, status: str, attempt: int, finished_at: datetime) -> bytes:
    """What is sent about the moment in which a task became final.

    Args:
        task: The task as it is now.
        status: The status it got in that moment.
        attempt: The attempt it was at.
        finished_at: When that was.
    """
    if (task.status, task.attempt) != (status, attempt):
        # A person has had it run again: what it is now is another story, which will have a webhook of its own.
        fact = {
            "task_id": str(task.id),
            "type": task.type,
            "queue": task.queue,
            "status": status,
            "attempt": attempt,
            "finished_at": finished_at,
        }
        return _envelope(status, finished_at, _json(fact), ["everything else"])
    left_out: list[str] = []
    body = _envelope(status, finished_at, document(task), left_out)
    for name, nothing in _EXPENDABLE.items():
        if len(body) <= MAX_BODY_BYTES:
            break
        task = task._replace(**nothing)
        left_out.append(name)
        body = _envelope(status, finished_at, document(task), left_out)
    return body


def _envelope(status: str, finished_at: datetime, data: bytes, left_out: Sequence[str]) -> bytes:
    return _json(
        {
            "type": f"task.{status}",
            "timestamp": finished_at,
            "data": orjson.Fragment(data),
            "left_out": left_out,
        }
    )


def _json(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_UTC_Z)
