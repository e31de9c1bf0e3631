"""What takes more than one request: waiting, and handing in more tasks than a batch takes."""

from collections.abc import Callable, Iterable
from typing import Final

from client import calls
from client.calls import NewTask
from client.errors import TaskFailedError, WaitTimeoutError
from client.models import BatchItem, Task
from client.retrying import Pause, Retrying, Steps, persist

#: Longest that one request asks to be held back, in seconds: well within what proxies allow.
_HOLD_S: Final = 25.0
#: A server that is about to end answers at once.
_BREATH_S: Final = 0.1


def wait(task_id: str, *, timeout_s: float | None, retrying: Retrying, clock: Callable[[], float]) -> Steps[Task]:
    """Wait until a task is final, however it ends.

    Raises:
        WaitTimeoutError: It was not in time; the task goes on.
    """
    until = None if timeout_s is None else clock() + timeout_s
    while True:
        left_s = _HOLD_S if until is None else max(0.0, until - clock())
        task = yield from persist(calls.task(task_id, wait_s=min(left_s, _HOLD_S)), retrying)
        if task.is_final:
            return task
        if until is not None and clock() >= until:
            raise WaitTimeoutError(task, timeout_s or 0.0)
        yield Pause(_BREATH_S)


def submit_many(new: Iterable[NewTask], *, idempotency_key: str | None, retrying: Retrying) -> Steps[list[BatchItem]]:
    """Hand in any number of tasks, in batches."""
    items: list[BatchItem] = []
    for number, chunk in enumerate(calls.chunks(new)):
        key = idempotency_key if idempotency_key is None or number == 0 else f"{idempotency_key}-{number}"
        items += yield from persist(calls.batch(chunk, idempotency_key=key), retrying)
    return items


def require_success(task: Task) -> Task:
    """The task, if it has succeeded.

    Raises:
        TaskFailedError: It ended in another way.
    """
    if task.status != "succeeded":
        raise TaskFailedError(task)
    return task
