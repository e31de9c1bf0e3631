"""Statuses and the table of moves: the only place that knows which status may follow which."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple


class TaskStatus(StrEnum):
    """Where a task stands. The values are stored and sent to clients: never rename one."""

    SCHEDULED = "scheduled"  # run_at is ahead; not tried yet
    QUEUED = "queued"  # due; its message is in the outbox or at the broker
    RUNNING = "running"  # one worker holds it, under the fence (worker, attempt)
    RETRYING = "retrying"  # failed; waits for the run_at of its next attempt
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # attempts used up, or a permanent error: a dead letter
    CANCELLED = "cancelled"
    EXPIRED = "expired"  # not started by expires_at


_S = TaskStatus

WAITING: Final = frozenset({_S.SCHEDULED, _S.QUEUED, _S.RETRYING})
FINAL: Final = frozenset({_S.SUCCEEDED, _S.FAILED, _S.CANCELLED, _S.EXPIRED})


class Move(NamedTuple):
    """One row of the table of moves.

    Attributes:
        sources: The statuses a task may be in just before.
        targets: The statuses it may be in just after.
        made_by: Who makes the move, for people who read the table.
    """

    sources: frozenset[TaskStatus]
    targets: frozenset[TaskStatus]
    made_by: str


RELEASE: Final = Move(frozenset({_S.SCHEDULED, _S.RETRYING}), frozenset({_S.QUEUED}), "release loop")
CLAIM: Final = Move(frozenset({_S.QUEUED}), frozenset({_S.RUNNING}), "consumer")
FINISH: Final = Move(
    frozenset({_S.RUNNING}),
    frozenset({_S.SUCCEEDED, _S.FAILED, _S.RETRYING, _S.CANCELLED, _S.QUEUED}),
    "finisher (queued: the worker is stopping and returns the attempt)",
)
RESCUE: Final = Move(
    frozenset({_S.RUNNING}),
    frozenset({_S.QUEUED, _S.FAILED, _S.CANCELLED}),
    "rescue loop (the worker is lost)",
)
CANCEL: Final = Move(WAITING, frozenset({_S.CANCELLED}), "a person cancels it, or purges its queue")
EXPIRE: Final = Move(WAITING, frozenset({_S.EXPIRED}), "expire loop")
RENEW: Final = Move(
    frozenset({_S.FAILED, _S.CANCELLED, _S.EXPIRED}), frozenset({_S.QUEUED}), "a person retries or replays"
)

MOVES: Final[Mapping[str, Move]] = MappingProxyType(
    {
        "release": RELEASE,
        "claim": CLAIM,
        "finish": FINISH,
        "rescue": RESCUE,
        "cancel": CANCEL,
        "expire": EXPIRE,
        "renew": RENEW,
    }
)


def is_final(status: str) -> bool:
    """Whether a task in this status is done, unless a person renews it."""
    return status in FINAL
