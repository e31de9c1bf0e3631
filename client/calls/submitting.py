"""Handing in tasks. Each request has an Idempotency-Key, so that it may be repeated without a second task."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, Required, TypedDict, TypeVar, Unpack

from client.calls.call import IDEMPOTENCY_KEY, Call, as_model, encode, fresh_key, path, send
from client.models import Accepted, Batch, BatchItem

#: Tasks that the server takes in one batch, and the size at which a batch is sent: a quarter of its usual limit.
MAX_BATCH: Final = 10_000
_MAX_BATCH_BYTES: Final = 8 * 1024 * 1024

_NOTHING: Final[Mapping[str, Any]] = {}
M = TypeVar("M", Accepted, Batch)


class TaskOptions(TypedDict, total=False):
    """What may be said of a task besides its type and payload; durations in seconds. Default: what its type says."""

    queue: str
    priority: Literal["normal", "high"]
    delay: float
    run_at: datetime | str
    expires_in: float
    timeout: float
    soft_timeout: float
    max_attempts: int
    unique: bool | Mapping[str, Any]
    tags: Sequence[str]
    callback_url: str


class NewTask(TaskOptions, total=False):
    """A task to hand in."""

    type: Required[str]
    payload: Any


def submit(
    type: str, payload: Any = _NOTHING, *, idempotency_key: str | None = None, **options: Unpack[TaskOptions]
) -> Call[Accepted]:
    """Hand in a task. A repeat after a lost answer never makes a second one.

    Args:
        type: A type that a worker has announced.
        payload: What its schema accepts.
        idempotency_key: To make repeats of the whole call safe too, for 24 hours: the same key and the same task
            give the first task again, as a duplicate. By default each call has a key of its own.
        options: See TaskOptions.
    """
    task = {"type": type, "payload": payload, **options}
    is_unique = bool(options.get("unique"))
    return _submission(path("tasks"), task, Accepted, idempotency_key, _as_new if not is_unique else _as_it_is)


def batch(tasks: Sequence[NewTask], *, idempotency_key: str | None = None) -> Call[list[BatchItem]]:
    """Hand in up to 10,000 tasks: all of them, or none."""

    def as_new(answer: Batch) -> Batch:
        items = [
            item if task.get("unique") else item.model_copy(update={"duplicate": False})
            for item, task in zip(answer.items, tasks, strict=True)
        ]
        return answer.model_copy(update={"items": items})

    call = _submission(path("tasks", "batch"), {"tasks": list(tasks)}, Batch, idempotency_key, as_new)
    return Call(
        method=call.method,
        path=call.path,
        read=lambda response: call.read(response).items,
        headers=call.headers,
        content=call.content,
    )


def chunks(tasks: Iterable[NewTask]) -> Iterator[list[NewTask]]:
    """The tasks in batches that the server takes."""
    chunk: list[NewTask] = []
    size = 0
    for task in tasks:
        task_bytes = len(encode(task))
        if chunk and (len(chunk) == MAX_BATCH or size + task_bytes > _MAX_BATCH_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(task)
        size += task_bytes
    if chunk:
        yield chunk


def _submission(where: str, body: Any, model: type[M], key: str | None, as_new: Callable[[M], M]) -> Call[M]:
    read = as_model(model)
    # With a key of our own, "it was there already" tells of our own repeat.
    return send(
        "POST",
        where,
        read if key is not None else lambda response: as_new(read(response)),
        body,
        headers=fresh_key() if key is None else {IDEMPOTENCY_KEY: key},
        is_repeatable=True,
    )


def _as_new(answer: Accepted) -> Accepted:
    return answer.model_copy(update={"duplicate": False})


def _as_it_is(answer: Accepted) -> Accepted:
    return answer
