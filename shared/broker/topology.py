"""What exists at RabbitMQ, as data: names, arguments, priorities.

Arguments can't be changed once a queue exists, and they are compared when it is declared again. So there are
few, and none depends on the broker's version: an upgraded broker must accept what its older self was told.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

QueueType = Literal["quorum", "classic"]

#: A message that came back more often than that goes to the dead letters (quorum queues).
DELIVERY_LIMIT: Final = 20
#: Exchange and queue of the dead letters. No task queue can have that name: theirs begin with the prefix.
DEAD_LETTERS: Final = "taskmill-dead-letters"
_PREFIX: Final = "taskmill."

#: AMQP priorities: quorum queues take 5 and above for high, classic ones cut off at their x-max-priority.
PRIORITIES: Final[Mapping[str, int]] = {"normal": 0, "high": 5}
_FIRST_VERSION_WITH_QUORUM_PRIORITIES: Final = (4, 0)

# A message stays unacked for as long as its tasks run, which may be longer than the 30 minutes that brokers allow.
# Brokers before 3.12 keep the argument without heeding it; classic queues of 4.3 refuse it, and have no timeout.
_CONSUMER_TIMEOUT_MS: Final = 7 * 24 * 3600 * 1000

# From 4.0 on a quorum queue without a limit has one of 20 and drops what exceeds it. "None" can't be said to 3.x.
_PRACTICALLY_NO_LIMIT: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """A durable queue, as it is declared."""

    name: str
    arguments: Mapping[str, str | int] = field(default_factory=dict)


def queue_name(queue: str) -> str:
    """What the broker calls a task queue."""
    return _PREFIX + queue


def task_queue(queue: str, queue_type: QueueType) -> QueueSpec:
    """The queue that rings for one task queue; what is rejected or comes back too often leaves for the dead."""
    arguments: dict[str, str | int] = {"x-queue-type": queue_type, "x-dead-letter-exchange": DEAD_LETTERS}
    if queue_type == "quorum":
        arguments["x-delivery-limit"] = DELIVERY_LIMIT
        arguments["x-dead-letter-strategy"] = "at-least-once"
        # What at-least-once asks for; without a length limit it refuses nothing.
        arguments["x-overflow"] = "reject-publish"
        arguments["x-consumer-timeout"] = _CONSUMER_TIMEOUT_MS
    else:
        arguments["x-max-priority"] = 1
    return QueueSpec(queue_name(queue), arguments)


def dead_letter_queue(queue_type: QueueType) -> QueueSpec:
    """The queue behind the dead-letter exchange."""
    arguments: dict[str, str | int] = {"x-queue-type": queue_type}
    if queue_type == "quorum":
        arguments["x-delivery-limit"] = _PRACTICALLY_NO_LIMIT
    return QueueSpec(DEAD_LETTERS, arguments)


def task_queue_of(name: str) -> str:
    """The task queue that the broker calls `name`."""
    return name.removeprefix(_PREFIX)


def honours_priority(queue_type: QueueType, version: tuple[int, ...]) -> bool:
    """Whether a broker of that version delivers high before normal."""
    return queue_type == "classic" or version >= _FIRST_VERSION_WITH_QUORUM_PRIORITIES
