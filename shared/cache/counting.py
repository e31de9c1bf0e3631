"""What is counted of moves: how they ended, how long tasks waited and attempts ran."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from shared.cache.base import Count, Duration
from shared.domain.durations import bucket_of
from shared.domain.status import TaskStatus
from shared.domain.task import TaskRecord

#: Where they end, an attempt has run until then.
_RAN: Final = frozenset({TaskStatus.SUCCEEDED, TaskStatus.FAILED})
_COUNTED: Final[dict[str, str]] = {
    TaskStatus.SUCCEEDED: "succeeded",
    TaskStatus.FAILED: "failed",
    TaskStatus.RETRYING: "retried",
}


def counts_of(moved: Iterable[TaskRecord]) -> list[Count]:
    """How many of the moves, given by the tasks as they are after them, were ends or retries."""
    numbers = Counter((task.queue, _COUNTED[task.status]) for task in moved if task.status in _COUNTED)
    return [Count(queue, what, number) for (queue, what), number in numbers.items()]


def durations_of(moved: Iterable[TaskRecord]) -> list[Duration]:
    """How long the tasks waited that have started, and how long the attempts ran that have ended."""
    took = (duration for task in moved if (duration := _duration(task)) is not None)
    return [Duration(*place, number) for place, number in Counter(took).items()]


def _duration(task: TaskRecord) -> tuple[str, str, int] | None:
    """The (queue, what, bucket) to count for a move."""
    if task.started_at is None:
        return None
    # A running task is told of twice where its end was asked for.
    if task.status == TaskStatus.RUNNING and task.queued_at and not task.cancel_requested:
        return task.queue, "waiting", bucket_of((task.started_at - task.queued_at).total_seconds())
    if task.status in _RAN and task.finished_at:
        return task.queue, "running", bucket_of((task.finished_at - task.started_at).total_seconds())
    return None
