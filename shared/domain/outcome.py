"""Decide: turn the end of an attempt into the move that follows. Pure; the finisher writes what is decided."""

from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from shared.domain.retry import RetryPolicy
from shared.domain.status import TaskStatus


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong in one attempt, as clients see it.

    Attributes:
        kind: A stable word: `error`, `permanent`, `retry`, `timeout`, `invalid_payload`, `invalid_result`,
            `worker_lost`, `process_died`; for an exception of the handler, its class name.
        message: One line for people.
        traceback: The Python traceback, or None where there is none.
    """

    kind: str
    message: str
    traceback: str | None = None


class Returned(NamedTuple):
    """The handler returned; `result` is its JSON text."""

    result: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The handler raised, ran out of time, or its process died.

    Attributes:
        permanent: Another attempt would fail the same way.
        retry_after_s: The wait the handler asked for, or None for the policy's.
    """

    failure: Failure
    permanent: bool = False
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The handler was stopped because a person asked for it."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The handler was stopped because its worker is stopping: not the task's fault."""


Report = Returned | Failed | Cancelled | Interrupted


class Outcome(NamedTuple):
    """The move that ends an attempt.

    Attributes:
        status: Where the task goes, unless a cancel request meanwhile turns waiting into cancelled.
        result: JSON text, for `succeeded` alone.
        failure: What is appended to the task's errors, or None.
        delay_s: Seconds until the next attempt, for `retrying` alone.
        returns_attempt: Whether the attempt is given back because it doesn't count.
    """

    status: TaskStatus
    result: str | None = None
    failure: Failure | None = None
    delay_s: float = 0.0
    returns_attempt: bool = False


def decide(report: Report, *, used: int, max_attempts: int, policy: RetryPolicy, random: Random) -> Outcome:
    """Turn the end of an attempt into the task's next move.

    Args:
        report: How the attempt ended.
        used: Attempts spent since the task was born or renewed, this one included; at least 1.
        max_attempts: How many may be spent.
        policy: The wait before the next attempt, where the handler named none.
        random: Source of the jitter.
    """
    match report:
        case Returned(result):
            return Outcome(TaskStatus.SUCCEEDED, result=result)
        case Cancelled():
            return Outcome(TaskStatus.CANCELLED)
        case Interrupted():
            return Outcome(TaskStatus.QUEUED, returns_attempt=True)
        case Failed(failure, permanent, _) if permanent or used >= max_attempts:
            return Outcome(TaskStatus.FAILED, failure=failure)
        case Failed(failure, _, retry_after_s):
            delay_s = policy.delay_s(used, random) if retry_after_s is None else retry_after_s
            return Outcome(TaskStatus.RETRYING, failure=failure, delay_s=delay_s)
